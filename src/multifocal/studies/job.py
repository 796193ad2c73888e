"""Which cell a process is to do, and where."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from multifocal import __version__
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.studies.grid import Cell
from multifocal.studies.state import CellResult, folder_of, write_outcome

STUDY, FOLDS, CACHE, MASKS = "study.yaml", "folds.json", "cache", "masks"


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
