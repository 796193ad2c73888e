"""A study from its plan to its tables."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from multifocal.files import swapped
from multifocal.studies.begin import Plan
from multifocal.studies.job import Job
from multifocal.studies.local import Event
from multifocal.studies.pooling import ARMS, COMPARISON, evaluate_arms
from multifocal.studies.state import CellResult, folder_of, read_outcome, survey
from multifocal.studies.tables import TABLES, Row, write_tables

Engine = Callable[[Sequence[Job]], Iterator[Event]]


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
            recipe=plan.grid.recipe(cell).model_dump(mode="json"),
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
) -> tuple[CellResult, ...]:
    """Run the cells that are left, and return how they ended.

    Args:
        plan: of `open_study`.
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

    What was concluded before is replaced when all of it is whole.

    Args:
        plan: of `open_study`.
        workers: processes that score.
        progress: called with the name of each arm that is begun.

    Raises:
        UserError: a mask cannot be read, or a file cannot be written.
    """
    grid = plan.grid
    done = survey(grid, plan.out, known=grid.fingerprint, before=None).done
    outcomes = {cell.name: read_outcome(folder_of(plan.out, cell)) for cell in grid.cells}
    with swapped(plan.out, [ARMS, COMPARISON, TABLES]) as new:
        found = evaluate_arms(grid, plan.out, done, into=new, workers=workers, progress=progress)
        return write_tables(grid.study, outcomes, found, new)
