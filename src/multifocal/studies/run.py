"""A study from its file to its tables: begin or continue it, run what is left, conclude."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multifocal.cohorts import Cohort
from multifocal.errors import UserError
from multifocal.files import read_json, write_error, write_json, write_text
from multifocal.studies import loading
from multifocal.studies.cell import FOLDS, STUDY, Job
from multifocal.studies.grid import Grid, make_grid
from multifocal.studies.local import Event
from multifocal.studies.outcome import evaluate_arms
from multifocal.studies.reading import ABOUT
from multifocal.studies.settings import Study
from multifocal.studies.state import Outcome, States, folder_of, read_outcome, set_aside, survey
from multifocal.studies.tables import Row, write_tables
from multifocal.training.run import versions

FORMAT = "multifocal study 1"
Engine = Callable[[Sequence[Job]], Iterator[Event]]


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
def begun(study: Study, cohort: Cohort, out: Path, *, engine: str, rerun_stale: bool = False) -> Iterator[Plan]:
    """Hold the study's folder, and yield what is left to do.

    Args:
        study: the study.
        cohort: the cases.
        out: the study's folder; made, or continued.
        engine: written down.
        rerun_stale: set aside cells that were run with other settings or data, to run them again.

    Raises:
        UserError: the study does not fit the cohort; the folder holds something else, or is in use; or cells in it are
            stale (and `rerun_stale` is off).
    """
    grid = make_grid(study, cohort)
    known = _check_folder(out)
    with _locked(out):
        states = survey(grid, out, known=known)
        if states.stale and not rerun_stale:
            raise UserError(
                f"{out}: {len(states.stale)} of {len(grid.cells)} cells were run with other settings or data: "
                f"{_listed([cell.name for cell in states.stale])}; --rerun-stale sets them aside and runs them again, "
                "or choose another folder"
            )
        if states.stale:
            set_aside(out, states.stale)
            states = survey(grid, out, known=grid.fingerprint)
        _write_down(grid, out, engine=engine)
        yield Plan(grid, out, states)


def jobs(plan: Plan, *, cohort: Path, layout: str = "auto", device: str = "auto") -> list[Job]:
    """Return what is left to do, in the order to begin it in."""
    return [
        Job(
            study=plan.out.absolute(),
            cohort=cohort.absolute(),
            layout=layout,
            arm=cell.arm,
            fold=cell.fold,
            seed=cell.seed,
            fingerprint=plan.grid.fingerprint_of(cell),
            device=device,
        )
        for cell in plan.states.open
    ]


def run_cells(
    plan: Plan,
    engine: Engine,
    *,
    cohort: Path,
    layout: str = "auto",
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
) -> tuple[Outcome, ...]:
    """Run the cells that are left, and return how they ended.

    Args:
        plan: of `begun`.
        engine: what runs them.
        cohort: path of the cohort, as the cells will find it.
        layout: of the cohort.
        device: of the cells.
        on_event: told of every cell that begins or ends.
    """
    ended = []
    for event in engine(jobs(plan, cohort=cohort, layout=layout, device=device)):
        if on_event:
            on_event(event)
        if event and event[1] is not None:
            ended.append(event[1])
    return tuple(ended)


def conclude(plan: Plan, *, workers: int = 1, progress: Callable[[str], None] | None = None) -> list[Row]:
    """Pool, score and compare what is done, write the tables, and return a row an arm.

    Args:
        plan: of `begun`.
        workers: processes that score.
        progress: called with the name of each arm that is begun.

    Raises:
        UserError: a mask cannot be read, or a file cannot be written.
    """
    grid = plan.grid
    done = survey(grid, plan.out, known=grid.fingerprint).done
    found = evaluate_arms(grid, plan.out, done, workers=workers, progress=progress)
    outcomes = {cell.name: read_outcome(folder_of(plan.out, cell)) for cell in grid.cells}
    return write_tables(grid.study, outcomes, found, plan.out)


def _check_folder(out: Path) -> str | None:
    """Return the fingerprint of the data that a study was begun with in the folder, or None in an empty one."""
    try:
        held = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise write_error(out, error) from error
    if ABOUT in held:
        about = read_json(out / ABOUT)
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise UserError(f"{out / ABOUT}: is not a study of this version; choose another folder")
        return str(about["cohort"]["fingerprint"])
    if any(not name.startswith(".") and name not in (STUDY, FOLDS) for name in held):
        raise UserError(f"{out}: is not empty and holds no study; choose another folder")
    return None


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


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise write_error(out, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{out}: another `multifocal study` is at work there; wait for it to end") from error
        yield
    finally:
        os.close(descriptor)


def _listed(names: Sequence[str], *, most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
