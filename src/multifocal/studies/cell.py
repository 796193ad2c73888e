"""One cell, in a process of its own: train, predict the fold's test cases, say how it went.

It reads its job as a line of JSON from stdin, and ends when stdin does: whoever started it is gone.
"""

import os
import resource
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from multifocal import recipes
from multifocal.cohorts import Folds, open_cohort
from multifocal.errors import UserError
from multifocal.files import locked
from multifocal.studies.grid import labelled
from multifocal.studies.job import CACHE, FOLDS, MASKS, STUDY, Job
from multifocal.studies.state import CellResult, write_outcome


def run(job: Job) -> CellResult:
    """Do what is left of a cell, and return its outcome, which is also written.

    Raises:
        UserError: whatever training and prediction raise.
    """
    from multifocal.systems import build, load_model, predict_cohort, system_class
    from multifocal.training import fit

    cohort = labelled(open_cohort(job.cohort, layout=job.layout))
    recipe = recipes.parse(job.recipe, where=f"{job.study / STUDY}: arm {job.arm}")
    fold = Folds.load(job.study / FOLDS).fold(job.fold, cohort)
    kind = system_class(recipe)
    if recipe.needs_training and not kind.is_fitted(recipe, job.folder):
        fit(
            recipe,
            cohort,
            split=fold,
            out=job.folder,
            cache=job.study / CACHE,
            resume=True,
            device=job.device,
            progress=False,
            held=True,
        )
    started = time.monotonic()
    model = load_model(job.folder, device=job.device) if recipe.needs_training else build(recipe, device=job.device)
    predict_cohort(model, cohort.subset(fold.test), job.folder / MASKS, overwrite=True)
    facts = dict(kind.facts(recipe, job.folder))
    facts["seconds"] += time.monotonic() - started
    outcome = job.ended(state="done", peak_mib=peak_mib(), **facts)
    write_outcome(job.folder, outcome)
    return outcome


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
