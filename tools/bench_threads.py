"""Seconds of a training step beside other busy processes, by number of threads and by how threads wait for each other.

    python tools/bench_threads.py [--steps N] [--busy 0 1 2]

Each step is the 3D U-Net of recipe `hie-small` on two brain boxes, forward and backward. Settings take turns in
fresh processes, three turns each, so that what else the machine does meets them all alike; a time is the median of all
steps. `spin` is OpenMP's own way of waiting, `sleep` is OMP_WAIT_POLICY=PASSIVE. Prints a Markdown table.
"""

import argparse
import os
import signal
import subprocess
import sys
from statistics import median

STEP = """
import sys, time, warnings
warnings.simplefilter("ignore")
import torch
from multifocal import losses, networks
torch.set_num_threads(int(sys.argv[1]))
network = networks.build("unet3d", in_channels=3, features=(16, 32, 64, 128))
loss = losses.build("dice-ce")
images, target = torch.randn(2, 3, 96, 112, 24), (torch.rand(2, 1, 96, 112, 24) > 0.99).float()
for step in range(int(sys.argv[2]) + 1):
    started = time.perf_counter()
    loss(network(images), target).backward()
    if step:
        print(time.perf_counter() - started)
"""
TURNS = 3
POLICIES = {"spin": {}, "sleep": {"OMP_WAIT_POLICY": "PASSIVE"}}


def steps(threads: int, policy: str, count: int) -> list[float]:
    """Return the seconds of steps in a fresh process."""
    ended = subprocess.run(
        [sys.executable, "-c", STEP, str(threads), str(count)],
        env={**os.environ, **POLICIES[policy]},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in ended.stdout.split()]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no busy process stays behind
    cores = len(os.sched_getaffinity(0))
    settings = [(threads, policy) for threads in sorted({1, cores}) for policy in POLICIES]
    titles = [f"{threads} thread{'s' * (threads > 1)}, {policy}" for threads, policy in settings]
    print(f"| busy processes beside, {cores} cores | {' | '.join(titles)} |\n|{'---|' * (len(settings) + 1)}")
    for busy in arguments.busy:
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            times: dict[tuple[int, str], list[float]] = {setting: [] for setting in settings}
            for _ in range(TURNS):
                for setting in settings:
                    times[setting] += steps(*setting, arguments.steps)
        finally:
            for other in others:
                other.kill()
        print(f"| {busy} | {' | '.join(f'{median(times[setting]):.2f}' for setting in settings)} |", flush=True)


if __name__ == "__main__":
    main()
