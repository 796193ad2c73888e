"""What a study costs beside its training: cells that do nothing, on Ray and on this machine.

    python tools/bench_studies.py --cells 1000

Prints a Markdown table.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from multifocal.studies import run_on_ray
from multifocal.studies.cell import Job
from multifocal.studies.folder import CellResult, read_outcome, write_outcome
from multifocal.studies.local import command, environment
from multifocal.studies.settings import Resources


def jobs(study: Path, cells: int) -> list[Job]:
    return [
        Job(
            study=study,
            cohort=study,
            layout="auto",
            arm=f"arm{number % 10}",
            fold=number // 10,
            seed=0,
            recipe={},
            fingerprint="",
            device="cpu",
        )
        for number in range(cells)
    ]


def nothing(job: Job, *, cpus: int, gpu: str | None) -> CellResult:
    return job.ended(state="done")


def written(job: Job, *, cpus: int, gpu: str | None) -> CellResult:
    outcome = job.ended(state="done")
    write_outcome(job.folder, outcome)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--address")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    resources = Resources(memory_gib=0.1)
    print("| what | cells | seconds | ms a cell |\n|---|---:|---:|---:|")

    def row(what: str, cells: int, began: float) -> None:
        seconds = time.monotonic() - began
        print(f"| {what} | {cells} | {seconds:.1f} | {1000 * seconds / cells:.1f} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder)
        for what, task in (("Ray, a cell that does nothing", nothing), ("Ray, a cell that writes cell.json", written)):
            began, first = time.monotonic(), None
            for event in run_on_ray(
                jobs(study, arguments.cells), resources=resources, address=arguments.address, task=task
            ):
                if event and first is None:
                    first = time.monotonic()
                    row("until the first cell is done: connect, start workers", 1, began)
            row(what, arguments.cells - 1, first or began)
        began = time.monotonic()
        found = sum(read_outcome(job.folder) is not None for job in jobs(study, arguments.cells))
        row("a second start looks what is done", found, began)
    began = time.monotonic()
    for _ in range(arguments.starts):
        # Everything that a cell imports, and no job: it ends with an error.
        start = [*command("multifocal.studies.cell")[:-1], "import multifocal.training, multifocal.studies.cell"]
        subprocess.run(start, env=dict(environment(1, "")), check=True)
    row("a cell's process starts, imports, ends", arguments.starts, began)


if __name__ == "__main__":
    main()
