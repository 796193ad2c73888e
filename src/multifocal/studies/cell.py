"""One cell, in a process of its own: train, predict the fold's test cases, say how it went.

It reads its job as a line of JSON from stdin, and ends when stdin does: whoever started it is gone.
"""

import csv
import os
import resource
import signal
import statistics
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multifocal.cohorts import Folds, open_cohort
from multifocal.errors import UserError
from multifocal.files import locked
from multifocal.metrics import METRICS
from multifocal.recipes import Recipe
from multifocal.studies import loading
from multifocal.studies.grid import labelled
from multifocal.studies.job import CACHE, FOLDS, MASKS, STUDY, Job
from multifocal.studies.state import Outcome, write_outcome


def run(job: Job) -> Outcome:
    """Do what is left of a cell, and return its outcome, which is also written.

    Raises:
        UserError: whatever training and prediction raise.
    """
    from multifocal.inference import ThresholdModel, load_model, predict_cohort
    from multifocal.training import Parts, fit

    cohort = labelled(open_cohort(job.cohort, layout=job.layout))
    recipe = loading.resolve(loading.load(job.study / STUDY), job.arm, seed=job.seed, where=str(job.study / STUDY))
    fold = Folds.load(job.study / FOLDS).fold(job.fold, cohort)
    if isinstance(recipe, Recipe) and not (job.folder / "weights.safetensors").exists():
        fit(
            recipe,
            cohort,
            parts=Parts(fold.train, fold.validation, fold.test),
            out=job.folder,
            cache=job.study / CACHE,
            resume=True,
            device=job.device,
            progress=False,
            held=True,
        )
    started = time.monotonic()
    model = load_model(job.folder, device=job.device) if isinstance(recipe, Recipe) else ThresholdModel(recipe)
    predict_cohort(model, cohort.subset(fold.test), job.folder / MASKS, overwrite=True)
    facts = measured(job.folder, recipe) if isinstance(recipe, Recipe) else {"seconds": 0.0}
    facts["seconds"] += time.monotonic() - started
    outcome = job.ended(state="done", peak_mib=peak_mib(), **facts)
    write_outcome(job.folder, outcome)
    return outcome


def measured(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what the log of a run says of its time, its epochs, and which of them was best."""
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best, monitor = None, recipe.training.monitor
    if monitor:
        scores = [(float(row[f"val/{monitor}"]), int(row["epoch"])) for row in rows if row.get(f"val/{monitor}")]
        sign = -1 if METRICS[monitor].best == "highest" else 1
        best = min(scores, key=lambda score: (sign * score[0], score[1]))[1]
    return {
        "seconds": sum(float(row["seconds"]) for row in rows),
        "epochs": len(rows),
        "best_epoch": best,
        "step_ms": statistics.median(float(row["step_ms"]) for row in rows),
    }


def peak_mib() -> float:
    """Return the most memory that this process has held: on the GPU if it computed there."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    # What getrusage says on Linux counts the process that started this one, too.
    peaks = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line] if status.exists() else []
    if peaks:
        return int(peaks[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _end_with_parent() -> None:
    """Kill this process and its own when stdin ends, so that a study that is killed leaves no cell behind."""

    def wait() -> None:
        while os.read(0, 1024):
            continue
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def _say(what: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {what}\n")
    sys.stderr.flush()


def main() -> None:
    """Do the job that stdin names."""
    job = Job.model_validate_json(sys.stdin.buffer.readline())
    _end_with_parent()
    try:
        # Waits for a process that is being killed, or lost with its machine's network.
        with locked(job.folder):
            _say(f"started, process {os.getpid()}")
            outcome = run(job)
            _say(f"done after {outcome.epochs or 0} epochs")
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
