"""Time and memory of evaluating cohorts from disk, by one and by two processes. Prints a Markdown table.

    python tools/bench_cohorts.py [--cases N ...] [--scratch FOLDER]

The cases are those of bench_metrics.py: 256×256×64 voxels, 50 lesions, compressed NIfTI (image, label, prediction): 50
different ones, and copies of them. Processor seconds are of all processes together: where they do not grow, two
idle cores take half the time.
"""

import argparse
import resource
import shutil
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from bench_metrics import SHAPE, SPACING, pair

DIFFERENT = 50


def write_cohort(folder: Path, cases: int) -> None:
    """Write a manifest of cases and their predictions: `DIFFERENT` ones, and copies of them."""
    from multifocal.volumes import Geometry, Volume, write

    geometry = Geometry(SHAPE, SPACING, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    lines = ["case,adc,label"]
    for number in range(cases):
        name, model = f"case{number:04d}", f"case{number % DIFFERENT:04d}"
        files = [f"{name}_adc.nii.gz", f"{name}_label.nii.gz", f"masks/{name}_lesion.nii.gz"]
        if number < DIFFERENT:
            prediction, target = pair(number)
            brain = np.zeros(SHAPE, np.int16)
            brain[48:208, 48:208, 4:60] = 1000
            for file, array in zip(files, (brain, target.astype(np.uint8), prediction.astype(np.uint8)), strict=True):
                write(folder / file, Volume(array, geometry))
        else:
            for file in files:
                shutil.copy(folder / file.replace(name, model), folder / file)
        lines.append(f"{name},{files[0]},{files[1]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def evaluate(folder: str, workers: int, queue: object) -> None:
    """Evaluate the cohort in this process, and report seconds, processor seconds, and peaks of memory in MiB."""
    from multifocal.cohorts import open_cohort
    from multifocal.evaluation import evaluate_cohort

    cohort = open_cohort(folder)
    before = _used()
    started = time.perf_counter()
    evaluate_cohort(Path(folder) / "masks", cohort, workers=workers)
    taken = time.perf_counter() - started
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    queue.put((taken, _used() - before, peaks[0], peaks[1] if workers > 1 else 0.0))


def _used() -> float:
    return sum(
        resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )


def time_cohorts(sizes: list[int], scratch: Path | None) -> None:
    heads = ("cases", "processes", "s", "times as fast as one", "processor s", "peak MiB", "of a worker")
    print("\n| " + " | ".join(heads) + " |\n" + "|--:" * len(heads) + "|")
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            write_cohort(Path(folder), size)
            alone = 0.0
            for workers in (1, 2):
                context = get_context("spawn")
                queue = context.Queue()
                process = context.Process(target=evaluate, args=(folder, workers, queue))
                process.start()
                taken, used, own, worker = queue.get()
                process.join()
                alone = alone or taken
                cells = f"{taken:.0f} | {alone / taken:.2f} | {used:.0f} | {own:.0f} | {worker:.0f}"
                print(f"| {size} | {workers} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[100, 1000], help="sizes of the cohorts")
    parser.add_argument("--scratch", type=Path, help="where they are written for the time being")
    arguments = parser.parse_args()
    time_cohorts(arguments.cases, arguments.scratch)


if __name__ == "__main__":
    main()
