"""Begin a study in its folder, or go on with one: what is there, what has changed, who else is at work."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multifocal.cohorts import Cohort
from multifocal.errors import UserError
from multifocal.files import locked, read_json, write_error, write_json, write_text
from multifocal.studies import loading
from multifocal.studies.grid import Grid, make_grid
from multifocal.studies.job import FOLDS, STUDY
from multifocal.studies.reading import ABOUT
from multifocal.studies.settings import Study
from multifocal.studies.state import States, set_aside, survey
from multifocal.versions import versions

FORMAT = "multifocal study 1"


@dataclass(frozen=True)
class Plan:
    """A study in its folder: what there is to do, and what is done.

    Args:
        grid: all cells.
        out: the folder.
        states: what is on the disk.
    """

    grid: Grid
    out: Path
    states: States


@contextmanager
def open_study(study: Study, cohort: Cohort, out: Path, *, engine: str, rerun_stale: bool = False) -> Iterator[Plan]:
    """Hold the study's folder, and yield what is left to do.

    Args:
        study: the study.
        cohort: the cases.
        out: the study's folder; made, or continued.
        engine: written down.
        rerun_stale: set aside cells that were run with other settings, data or version, to run them again.

    Raises:
        UserError: the study does not fit the cohort; the folder holds something else, or is in use; or cells in it are
            stale (and `rerun_stale` is off).
    """
    grid = make_grid(study, cohort)
    known, before = _check_folder(out)
    with locked(out, busy=f"{out}: another `multifocal study` is at work there; wait for it to end"):
        states = survey(grid, out, known=known, before=before)
        if states.stale and not rerun_stale:
            raise UserError(
                f"{out}: {len(states.stale)} of {len(grid.cells)} cells were run with other settings or data"
                f"{', or by another version of multifocal' if states.outdated else ''}: "
                f"{_listed([cell.name for cell in states.stale])}; --rerun-stale sets them aside and runs them again, "
                "or choose another folder"
            )
        if states.stale:
            set_aside(out, states.stale)
            states = survey(grid, out, known=grid.fingerprint, before=before)
        _write_down(grid, out, engine=engine)
        yield Plan(grid, out, states)


def _check_folder(out: Path) -> tuple[str | None, str | None]:
    """Return the fingerprint of the data, and the version, that a study was last started with in the folder."""
    try:
        held = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise write_error(out, error) from error
    if ABOUT in held:
        about = read_json(out / ABOUT)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise UserError(f"{out / ABOUT}: is not a study of this version; choose another folder")
        return str(about["cohort"]["fingerprint"]), about["started"][-1]["versions"].get("multifocal")
    if any(not name.startswith(".") and name not in (STUDY, FOLDS) for name in held):
        raise UserError(f"{out}: is not empty and holds no study; choose another folder")
    return None, None


def _write_down(grid: Grid, out: Path, *, engine: str) -> None:
    study = grid.study
    write_text(out / STUDY, loading.dump(loading.with_fold_file(study, FOLDS)))
    grid.folds.save(out / FOLDS)
    before: list[Any] = read_json(out / ABOUT)["started"] if (out / ABOUT).exists() else []
    start = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "engine": engine, "versions": versions()}
    write_json(
        out / ABOUT,
        {
            "format": FORMAT,
            "name": study.name,
            "cohort": {
                "name": grid.cohort.name,
                "layout": grid.cohort.layout,
                "cases": len(grid.cohort),
                "fingerprint": grid.fingerprint,
            },
            "arms": list(study.arms),
            "folds": list(grid.chosen),
            "seeds": list(study.seeds),
            "published": study.published and study.published.model_dump(mode="json"),
            "started": [*before, start],
        },
    )


def _listed(names: Sequence[str], *, most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
