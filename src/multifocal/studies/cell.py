"""One cell, in a process of its own: train, predict the fold's test cases, say how it went.

It reads its job as a line of JSON from stdin, and ends when stdin does: whoever started it is gone.
"""

import os
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multifocal import __version__, recipes
from multifocal.cohorts import Folds, open_cohort
from multifocal.config import Config
from multifocal.errors import LESS_MEMORY, UserError, out_of_memory
from multifocal.files import locked
from multifocal.studies.folder import CACHE, FOLDS, MASKS, STUDY, CellResult, folder_of, write_outcome
from multifocal.studies.grid import Cell, labelled
from multifocal.versions import missing


class Job(Config):
    """What the process is told.

    Args:
        study: the study's folder.
        cohort: path of the cohort.
        layout: of the cohort.
        arm: which cell.
        fold: which cell.
        seed: which cell.
        recipe: what it trains, every default spelled out.
        fingerprint: what the cell's outcome is marked with.
        device: `auto`, `cpu` or `cuda`.
        probabilities: whether it keeps those of its test cases.
        uncertainty: whether it writes how sure it is of them, and keeps what that is judged by.
    """

    study: Path
    cohort: Path
    layout: str
    arm: str
    fold: int
    seed: int
    recipe: dict[str, Any]
    fingerprint: str
    device: str
    probabilities: bool = False
    uncertainty: bool = False

    @property
    def cell(self) -> Cell:
        """Return which cell this is."""
        return Cell(self.fold, self.seed, 0, self.arm)

    @property
    def folder(self) -> Path:
        """Return where the cell lies."""
        return folder_of(self.study, self.cell)

    def ended(self, **how: object) -> CellResult:
        """Return the cell's outcome."""
        cell = {"arm": self.arm, "fold": self.fold, "seed": self.seed}
        facts = {**cell, "fingerprint": self.fingerprint, "version": __version__}
        return CellResult.model_validate({**facts, **how})

    def failed(self, error: str) -> CellResult:
        """Return the outcome of the cell that failed so, which is also written where it can be."""
        outcome = self.ended(state="failed", error=error)
        # A full disk must not stop the other cells; without the file this one counts as not finished.
        with suppress(UserError):
            write_outcome(self.folder, outcome)
        return outcome


def run(job: Job) -> CellResult:
    """Do what is left of a cell, and return its outcome, which is also written.

    Args:
        job: which cell, and where.

    Returns:
        How it ended.

    Raises:
        UserError: whatever training and prediction raise.
    """
    from multifocal.systems import build, load_model, predict_cohort, system_class
    from multifocal.systems.loading import is_finished

    cohort = labelled(open_cohort(job.cohort, layout=job.layout))
    recipe = recipes.parse(job.recipe, where=f"{job.study / STUDY}: arm {job.arm}")
    fold = Folds.load(job.study / FOLDS).fold(job.fold, cohort)
    kind = system_class(recipe)
    if recipe.needs_training and not is_finished(recipe, job.folder):
        from multifocal.training import fit  # with packages that an arm without training can do without

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
    kept = {
        "probabilities": job.probabilities or (job.uncertainty and model.has_probabilities),
        "parts": tuple(model.parts),
        "uncertainty": job.uncertainty,
        "members": model.member_names if job.uncertainty else (),
    }
    predict_cohort(
        model,
        cohort.subset(fold.test),
        job.folder / MASKS,
        probabilities=bool(kept["probabilities"]),
        parts=bool(kept["parts"] or kept["members"]),
        uncertainty=job.uncertainty,
        overwrite=True,
    )
    facts = dict(kind.facts(recipe, job.folder))
    facts["seconds"] += time.monotonic() - started
    outcome = job.ended(state="done", peak_mib=peak_mib(), **kept, **facts)
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
    except (UserError, MemoryError, RuntimeError, ModuleNotFoundError) as error:
        told = error if isinstance(error, UserError) else out_of_memory(error, LESS_MEMORY)
        if isinstance(error, ModuleNotFoundError):
            told = missing(error)
        if told is None:
            raise
        sys.stderr.write(f"error: {told}\n")
        sys.exit(2)
