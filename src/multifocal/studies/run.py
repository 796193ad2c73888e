"""Begin a study in its folder, or go on with one: what is there, what has changed, and what is left to run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from multifocal import __version__
from multifocal.cohorts import Cohort
from multifocal.errors import UserError
from multifocal.files import locked, read_json, write_error, write_json, write_text
from multifocal.studies import loading
from multifocal.studies.cell import Job
from multifocal.studies.folder import ABOUT, CELLS, FOLDS, REPLACED, STUDY, CellResult, folder_of, read_outcome
from multifocal.studies.grid import Cell, Grid, make_grid
from multifocal.studies.local import Event
from multifocal.studies.settings import Study
from multifocal.systems.packages import check_packages
from multifocal.versions import versions

FORMAT = "multifocal study 1"
Engine = Callable[[Sequence[Job]], Iterator[Event]]


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


@dataclass(frozen=True)
class Plan:
    """A study in its folder: what there is to do, and what is done.

    Args:
        grid: all cells.
        out: the folder.
        states: what is on the disk.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load
        >>> study = load("demo", overrides=["folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local") as plan:
        ...         print(len(plan.states.done), "of", len(plan.grid.cells), "are done")
        0 of 3 are done
    """

    grid: Grid
    out: Path
    states: States


@contextmanager
def open_study(
    study: Study, cohort: Cohort, out: str | Path, *, engine: str, rerun_stale: bool = False
) -> Iterator[Plan]:
    """Hold the study's folder, and yield what is left to do.

    Args:
        study: the study.
        cohort: the cases.
        out: the study's folder; made, or continued.
        engine: name of what runs the cells, written to `study.json`.
        rerun_stale: set aside cells that were run with other settings, data or version, to run them again.

    Yields:
        Plan: what there is to do. The folder is held until the block ends.

    Raises:
        UserError: the study does not fit the cohort; the folder holds something else, is in use or cannot be written;
            cells in it are stale (and `rerun_stale` is off); or a package that an arm is trained with is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load
        >>> study = load("demo", overrides=["folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local") as plan:
        ...         files = sorted(path.name for path in plan.out.glob("*.*") if not path.name.startswith("."))
        >>> files
        ['folds.json', 'study.json', 'study.yaml']
    """
    grid, out = make_grid(study, cohort), Path(out)
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
            _check_packages(grid, [*states.open, *states.stale])
            set_aside(out, states.stale)
            states = survey(grid, out, known=grid.fingerprint, before=before)
        _check_packages(grid, states.open)
        _write_down(grid, out, engine=engine)
        yield Plan(grid, out, states)


def _check_packages(grid: Grid, cells: Sequence[Cell]) -> None:
    """Raise `UserError` where a package that one of the cells is trained with is not installed."""
    for recipe in {cell.arm: grid.recipe(cell) for cell in cells}.values():
        check_packages(recipe)


def jobs(plan: Plan, *, cohort: str | Path, layout: str = "auto", device: str = "auto") -> list[Job]:
    """Return what is left to do, in the order to begin it in.

    Args:
        plan: of `open_study`.
        cohort: path of the cohort, as the cells will find it.
        layout: of the cohort, see `open_cohort`.
        device: of the cells: `auto`, `cpu` or `cuda`.

    Returns:
        A job for each cell that is open.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load
        >>> study = load("demo", overrides=["folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local") as plan:
        ...         print([job.cell.name for job in jobs(plan, cohort=Path(home, "cohort"))])
        ['dice-ce/fold0-seed0', 'blob-dice/fold0-seed0', 'z-adc/fold0-seed0']
    """
    return [
        Job(
            study=plan.out.absolute(),
            cohort=Path(cohort).absolute(),
            layout=layout,
            arm=cell.arm,
            fold=cell.fold,
            seed=cell.seed,
            recipe=plan.grid.recipe(cell).model_dump(mode="json"),
            fingerprint=plan.grid.fingerprint_of(cell),
            device=device,
            probabilities=plan.grid.is_tuned(cell.arm),
            uncertainty=plan.grid.study.uncertainty,
        )
        for cell in plan.states.open
    ]


def run_cells(
    plan: Plan,
    engine: Engine,
    *,
    cohort: str | Path,
    layout: str = "auto",
    device: str = "auto",
    on_event: Callable[[Event], None] | None = None,
) -> tuple[CellResult, ...]:
    """Run the cells that are left, and return how they ended.

    Args:
        plan: of `open_study`.
        engine: what runs them: it takes the jobs and yields events, see `run_here`.
        cohort: path of the cohort, as the cells will find it.
        layout: of the cohort.
        device: of the cells.
        on_event: told of every cell that begins or ends.

    Returns:
        How the cells ended, in the order they did.

    Raises:
        UserError: what the engine raises.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.studies import load
        >>> from multifocal.studies.cell import run
        >>> def in_this_process(jobs):
        ...     yield from ((job, run(job)) for job in jobs)
        >>> study = load("demo", overrides=["arms={z: {recipe: zadc-threshold}}", "folds.number=2"])
        >>> with TemporaryDirectory() as home:
        ...     write_phantom(f"{home}/cohort", cases=2, seed=0)
        ...     with open_study(study, open_cohort(f"{home}/cohort"), Path(home, "study"), engine="local") as plan:
        ...         [ended] = run_cells(plan, in_this_process, cohort=Path(home, "cohort"))
        >>> ended.arm, ended.fold, ended.state
        ('z', 0, 'done')
    """
    ended = []
    for event in engine(jobs(plan, cohort=cohort, layout=layout, device=device)):
        if on_event:
            on_event(event)
        if event and event[1] is not None:
            ended.append(event[1])
    return tuple(ended)


def survey(grid: Grid, out: Path, *, known: str | None, before: str | None) -> States:
    """Return what of a grid is done.

    Args:
        grid: what is to be run.
        out: the study's folder.
        known: the fingerprint of the cohort when the study was last started there; None on the first start.
        before: the version of multifocal that did; it made the cells that do not say which one did.

    Returns:
        The cells by what is on the disk.
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
            # Cells of before the study was tuned, or asked how sure they are, have masks only: they predict again.
            is_whole = (outcome.probabilities or not grid.is_tuned(cell.arm)) and (
                outcome.uncertainty or not grid.study.uncertainty
            )
            state = "done" if outcome.state == "done" and is_whole else "open"
        cells[state].append(cell)
    present = {f"{path.parent.name}/{path.name}" for path in (out / CELLS).glob("*/*") if path.is_dir()}
    foreign = sorted(present - {cell.name for cell in grid.cells})
    return States(**{state: tuple(found) for state, found in cells.items()}, foreign=tuple(foreign))


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
