"""What a study's folder says about its cells: done, failed, begun, or run with other settings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multifocal import __version__
from multifocal.config import Config, validate
from multifocal.errors import UserError
from multifocal.files import read_json, write_error, write_json
from multifocal.studies.grid import Cell, Grid

CELLS, REPLACED, CELL, LOG = "cells", "replaced", "cell.json", "cell.log"


class CellResult(Config):
    """How a cell ended.

    Args:
        arm: the cell's.
        fold: the cell's.
        seed: the cell's.
        state: done, or failed.
        seconds: of its epochs and its predictions.
        epochs: how many it was trained.
        best_epoch: which of them counts, from 0; None where the last one does.
        step_ms: median time of a training step, loading included.
        peak_mib: most memory that the process held (on a GPU: of the GPU).
        fingerprint: of all that decides its masks, but for the package.
        version: the version of multifocal that made them; None in files of before it was written down.
        error: why it failed.
    """

    arm: str
    fold: int
    seed: int
    state: Literal["done", "failed"]
    seconds: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    step_ms: float | None = None
    peak_mib: float | None = None
    fingerprint: str
    version: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class States:
    """The cells of a grid by what is on the disk.

    Args:
        done: complete and unchanged.
        open: to be run: not begun, begun, or failed.
        stale: run, or begun, with other settings or data, or by another version of the package.
        outdated: those of the stale ones that only the version makes so.
        foreign: folders of cells that are not of this grid.
    """

    done: tuple[Cell, ...]
    open: tuple[Cell, ...]
    stale: tuple[Cell, ...]
    outdated: tuple[Cell, ...]
    foreign: tuple[str, ...]


def folder_of(study: Path, cell: Cell) -> Path:
    """Return a cell's folder."""
    return study / CELLS / cell.name


def read_outcome(folder: Path) -> CellResult | None:
    """Return how the cell in a folder ended, or None while it has not."""
    path = folder / CELL
    return validate(CellResult, read_json(path), where=str(path)) if path.exists() else None


def write_outcome(folder: Path, outcome: CellResult) -> None:
    """Write how a cell ended: the last file of its folder."""
    write_json(folder / CELL, outcome.model_dump(mode="json"))


def survey(grid: Grid, out: Path, *, known: str | None, before: str | None) -> States:
    """Return what of a grid is done.

    Args:
        grid: what is to be run.
        out: the study's folder.
        known: the fingerprint of the cohort when the study was last started there; None on the first start.
        before: the version of multifocal that did; it made the cells that do not say which one did.
    """
    same_data = known in (None, grid.fingerprint)
    cells: dict[str, list[Cell]] = {"done": [], "open": [], "stale": [], "outdated": []}
    for cell in grid.cells:
        folder = folder_of(out, cell)
        outcome = read_outcome(folder)
        if outcome is None:
            begun = (folder / "run.json").exists()
            state = "stale" if begun and not (same_data and _is_begun_as(folder, grid, cell)) else "open"
        elif outcome.fingerprint != grid.fingerprint_of(cell):
            state = "stale"
        elif (outcome.version or before or __version__) != __version__:
            state = "stale"
            cells["outdated"].append(cell)
        else:
            state = "done" if outcome.state == "done" else "open"
        cells[state].append(cell)
    present = {f"{path.parent.name}/{path.name}" for path in (out / CELLS).glob("*/*") if path.is_dir()}
    foreign = sorted(present - {cell.name for cell in grid.cells})
    return States(**{state: tuple(found) for state, found in cells.items()}, foreign=tuple(foreign))


def set_aside(study: Path, cells: Iterable[Cell]) -> Path:
    """Move the folders of cells to `replaced/<n>/`, and return that."""
    taken = [int(path.name) for path in (study / REPLACED).glob("*") if path.name.isdecimal()]
    target = study / REPLACED / str(max(taken, default=0) + 1)
    for cell in cells:
        folder = target / cell.name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder_of(study, cell).rename(folder)
        except OSError as error:
            raise write_error(folder, error) from error
    return target


def _is_begun_as(folder: Path, grid: Grid, cell: Cell) -> bool:
    """Whether a run that has begun in a folder is the cell's; which file of a killed one is missing, fit makes up."""
    from multifocal.training import holds_recipe

    try:
        about = read_json(folder / "run.json")
        same_recipe = holds_recipe(folder, grid.recipe(cell))
    except (OSError, UserError):
        return False
    fold = grid.fold(cell)
    parts = {"train": list(fold.train), "validation": list(fold.validation), "test": list(fold.test)}
    return same_recipe and isinstance(about, Mapping) and about.get("parts") == parts
