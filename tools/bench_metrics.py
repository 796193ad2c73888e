"""Time and memory of the metrics, beside the libraries they equal, in the same run. Prints a Markdown table.

    python tools/bench_metrics.py [--repeats N] [--panoptica-python PYTHON]

One pair: 256×256×64 voxels of 1×1×3 mm with 50 lesions and a prediction that misses some, moves others and makes some
up. All case- and lesion-level metrics in one call stand beside surface-distance alone and the same set from MONAI,
surface-distance and panoptica (which needs an environment of its own: give its interpreter). All have one thread and
take turns; a number is the median of its turns in processor seconds, which other work on the machine does not stretch.
Memory is the growth of the resident set's peak in a fresh process.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

SHAPE, SPACING, LESIONS = (256, 256, 64), (1.0, 1.0, 3.0), 50


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and target: balls of 2 to 6 mm in the middle of the image, where a brain would be."""
    rng = np.random.default_rng(seed)
    target, prediction = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    # Cells of a grid keep the lesions apart.
    columns, rows = np.meshgrid(np.arange(8), np.arange(8))
    chosen = rng.choice(64, LESIONS + 10, replace=False)
    for number, cell in enumerate(chosen):
        centre = np.array([64 + 16 * columns.flat[cell], 64 + 16 * rows.flat[cell], rng.integers(8, 56)])
        radius = rng.uniform(2, 6)
        if number < LESIONS:
            _ball(target, centre, radius)
        if number >= LESIONS or rng.random() < 0.8:
            _ball(prediction, centre + [rng.integers(-1, 2), rng.integers(-1, 2), 0], radius + rng.uniform(-1, 1))
    return prediction, target


def _ball(mask: np.ndarray, centre: np.ndarray, radius: float) -> None:
    window = tuple(slice(int(c) - 7, int(c) + 8) for c in centre)
    steps = np.meshgrid(*[np.arange(-7, 8) * side for side in SPACING], indexing="ij")
    mask[window] |= sum(step**2 for step in steps) <= radius**2


def multifocal_all(prediction: np.ndarray, target: np.ndarray) -> dict[str, float]:
    from multifocal.metrics import evaluate_case

    return evaluate_case(prediction, target, spacing=SPACING)


def surface_distance_alone(prediction: np.ndarray, target: np.ndarray) -> None:
    import surface_distance

    found = surface_distance.compute_surface_distances(target, prediction, SPACING)
    surface_distance.compute_average_surface_distance(found)
    surface_distance.compute_robust_hausdorff(found, 95)
    surface_distance.compute_surface_dice_at_tolerance(found, 2.0)


def monai_case_level(prediction: np.ndarray, target: np.ndarray) -> None:
    """Dice, MASD, ASSD, HD95, NSD, and the counts behind sensitivity, precision and specificity."""
    import torch
    from monai import metrics

    masks = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, target)]
    options = {"include_background": True, "spacing": list(SPACING)}
    metrics.compute_dice(*masks, include_background=True)
    metrics.get_confusion_matrix(*masks, include_background=True)
    metrics.compute_average_surface_distance(*masks, **options)
    metrics.compute_average_surface_distance(*masks[::-1], **options)
    metrics.compute_average_surface_distance(*masks, symmetric=True, **options)
    metrics.compute_hausdorff_distance(*masks, percentile=95, **options)
    metrics.compute_surface_dice(*masks, class_thresholds=[2.0], **options)


class Panoptica:
    """PQ, SQ, RQ and counts of the pair, timed inside a process of the other environment."""

    CODE = """
import sys, time
import numpy as np
from panoptica import *
disable_citation_reminder()
with np.load(sys.argv[1]) as masks:
    pair = masks["prediction"].astype(np.uint8), masks["target"].astype(np.uint8)
evaluator = Panoptica_Evaluator(
    expected_input=InputType.SEMANTIC,
    instance_approximator=ConnectedComponentsInstanceApproximator(cca_backend=CCABackend.cc3d),
    instance_matcher=NaiveThresholdMatching(matching_metric=Metric.IOU),
    instance_metrics=[Metric.DSC, Metric.IOU], global_metrics=[],
)
for _ in sys.stdin:
    started = time.process_time()
    result = evaluator.evaluate(*pair, verbose=False)["ungrouped"]
    result.pq, result.sq, result.rq, result.pq_dsc
    print(time.process_time() - started, flush=True)
"""

    def __init__(self, python: str, file: Path) -> None:
        self.process = subprocess.Popen(
            [python, "-c", self.CODE, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self) -> float:
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def seconds(function: Callable[..., object], *arguments: object) -> float:
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started


def time_pair(repeats: int, panoptica_python: str | None) -> None:
    masks = pair(0)
    timed = {
        "multifocal: everything": lambda: seconds(multifocal_all, *masks),
        "surface-distance alone (MASD, HD95, NSD)": lambda: seconds(surface_distance_alone, *masks),
        "MONAI (case level)": lambda: seconds(monai_case_level, *masks),
    }
    with tempfile.TemporaryDirectory() as folder:
        panoptica = None
        if panoptica_python:
            file = Path(folder) / "pair.npz"
            np.savez(file, prediction=masks[0], target=masks[1])
            timed["panoptica (PQ, SQ, RQ, counts)"] = panoptica = Panoptica(panoptica_python, file)
        times: dict[str, list[float]] = {name: [] for name in timed}
        for turn in range(repeats + 1):
            for name, run in timed.items():
                taken = run()
                if turn:  # the first one warms up
                    times[name].append(taken)
        if panoptica:
            panoptica.close()
    medians = {name: median(values) for name, values in times.items()}
    ours, *others = medians.values()
    if panoptica_python:
        medians["the same set: MONAI + surface-distance + panoptica"] = sum(others)
    scores = multifocal_all(*masks)
    print(f"One pair, {scores['true_lesions']:.0f} true and {scores['predicted_lesions']:.0f} predicted lesions:\n")
    print("| | ms | times ours | extra MiB |\n|---|--:|--:|--:|")
    measured = {
        "multifocal: everything": "multifocal_all",
        "surface-distance alone (MASD, HD95, NSD)": "surface_distance_alone",
        "MONAI (case level)": "monai_case_level",
    }
    for name, taken in medians.items():
        memory = f"{extra_memory(measured[name]):.0f}" if name in measured else ""
        print(f"| {name} | {1000 * taken:.1f} | {taken / ours:.1f} | {memory} |")


def extra_memory(name: str) -> float:
    """Return by how many MiB the peak of the resident set rises over the pair at rest, in a fresh process."""
    code = f"import bench_metrics as b; b._memory({name!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


def _memory(name: str) -> None:
    function = globals()[name]
    small = np.zeros((2, 16, 16, 16), bool)
    small[:, 4:8, 4:8, 4:8] = True
    function(*small)  # imports, and compiles what is compiled
    masks = pair(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    function(*masks)
    print((_status("VmHWM") - before) / 1024)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--panoptica-python", help="interpreter of an environment that has panoptica")
    arguments = parser.parse_args()
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    time_pair(arguments.repeats, arguments.panoptica_python)


if __name__ == "__main__":
    main()
