"""Time of choosing what stands between probability and mask, by the metric it goes by. Prints a Markdown table.

    python tools/bench_tuning.py [--cases N] [--workers N]

Synthetic cases in the layout of BONBID-HIE with probabilities that are made up: the smoothed label and noise. The grid
is 9 thresholds × 5 least volumes; predicting the cases is not in it. The time is that of the wall, and of processors
beside it.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import ndimage, special

from multifocal.cohorts import open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.systems import Postprocess, Tuner, Tuning
from multifocal.volumes import Volume, write

GRID = {
    "threshold": tuple(round(0.1 * n, 1) for n in range(1, 10)),
    "min_size_ml": (0.0, 0.01, 0.02, 0.05, 0.1),
}
ASKED = (("dice",), ("f1",), ("nsd",), ("masd",), ("dice", "masd", "f1"))


def main() -> None:
    """Write the cases, tune, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "cohort", cases=options.cases, seed=0)
        cohort = open_cohort(folder / "cohort")
        maps = {}
        for number, case in enumerate(cohort):
            rng, label = np.random.default_rng(number), case.label.read()
            brain = case.images["adc"].read().array != 0
            smooth = ndimage.gaussian_filter((label.array > 0).astype(np.float32), 1.0)
            noise = ndimage.gaussian_filter(rng.normal(0, 6, label.array.shape), 1.0)
            probability = (special.expit(12 * smooth - 5 + noise) * brain).astype(np.float32)
            maps[case.name] = folder / f"{case.name}_probability.mha"
            write(maps[case.name], Volume(probability, label.geometry))
        shape = "×".join(map(str, label.geometry.size))
        settings = len(GRID["threshold"]) * len(GRID["min_size_ml"])
        print(f"{options.cases} cases of about {shape} voxels, {settings} settings")
        print("\n| chosen by | s | s of processors | ms a case and setting |\n|---|---:|---:|---:|")
        asked = [(" + ".join(metrics), {"metric": metrics}) for metrics in ASKED]
        asked.append(("dice, calibrated", {"metric": "dice", "calibration": "temperature"}))
        for label_, says in asked:
            tuner = Tuner(maps, cohort, Tuning(**says, **GRID), Postprocess(), workers=options.workers)
            wall, busy = time.perf_counter(), time.process_time()
            tuner.on(list(maps))
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
            each = 1000 * busy / len(cohort) / len(tuner.points)
            print(f"| {label_} | {wall:.1f} | {busy:.1f} | {each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
