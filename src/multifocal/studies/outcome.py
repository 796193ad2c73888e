"""What came of a study: each arm's masks pooled over folds, scored, compared."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from multifocal.errors import UserError
from multifocal.files import atomic, write_error
from multifocal.inference.ensemble import MASK, Vote, combine_files, predictions_by_case
from multifocal.metrics import Results, evaluate_cohort, read_results, write_results
from multifocal.metrics.comparison import compare, write_comparison
from multifocal.studies.grid import Cell, Grid
from multifocal.studies.job import MASKS
from multifocal.studies.state import CELL, folder_of

ARMS, COMPARISON = "arms", "comparison"
WORTH_A_PROCESS = 20  # cases that take as long to score as a process to start


def evaluate_arms(
    grid: Grid, out: Path, done: Sequence[Cell], *, workers: int, progress: Callable[[str], None] | None = None
) -> dict[str, Results]:
    """Write `arms/` and `comparison/` from the cells that are done, and return each arm's evaluation.

    A case of an arm counts when it has a mask from every seed: several are combined by majority vote. The comparison
    is over the cases that all evaluated arms have.

    Args:
        grid: the study.
        out: its folder.
        done: the cells to draw on.
        workers: processes that score.
        progress: called with the name of each arm that is begun.

    Raises:
        UserError: a mask cannot be read, or a file cannot be written.
    """
    _clear(out)
    found, ended, seeds = {}, {(cell.arm, cell.fold, cell.seed) for cell in done}, grid.study.seeds
    for arm in grid.study.arms:
        complete = [fold for fold in grid.chosen if all((arm, fold, seed) in ended for seed in seeds)]
        cases = [case for fold in complete for case in grid.folds.folds[fold].test]
        if not cases:
            continue
        if progress:
            progress(arm)
        folder = out / ARMS / arm
        for fold in complete:
            _pool(grid, out, arm, fold, folder / MASKS)
        metrics = grid.study.metrics
        several = min(workers, 1 + len(cases) // WORTH_A_PROCESS)
        scores = evaluate_cohort(folder / MASKS, grid.cohort.subset(cases), workers=several, **metrics.rules)
        write_results(scores, folder, undefined=metrics.undefined)
        found[arm] = read_results(folder)
    _compare(grid, found, out)
    return found


def _clear(out: Path) -> None:
    """Remove what was concluded before: it is made again from the cells."""
    for name in (ARMS, COMPARISON):
        try:
            if (out / name).exists():
                shutil.rmtree(out / name)
        except OSError as error:
            raise write_error(out / name, error) from error


def _pool(grid: Grid, out: Path, arm: str, fold: int, target: Path) -> None:
    """Bring the masks of one fold's test cases to the arm's folder."""
    folders = [folder_of(out, Cell(fold, seed, 0, arm)) / MASKS for seed in grid.study.seeds]
    found = [predictions_by_case(folder, MASK) for folder in folders]
    for case in grid.folds.folds[fold].test:
        for folder, files in zip(folders, found, strict=True):
            if case not in files:
                raise UserError(f"{folder}: holds no mask of case {case}; remove {folder.parent / CELL} and run again")
        masks = [files[case] for files in found]
        if len(masks) > 1:
            combine_files(masks, target / masks[0].name, rule=Vote())
            continue
        with atomic(target / masks[0].name) as temporary:
            shutil.copyfile(masks[0], temporary)


def _compare(grid: Grid, found: dict[str, Results], out: Path) -> None:
    if not found:
        return
    common = set.intersection(*({row["case"] for row in results.rows} for results in found.values()))
    if not common:
        return
    methods = {
        arm: replace(results, rows=[row for row in results.rows if row["case"] in common])
        for arm, results in found.items()
    }
    write_comparison(compare(methods, undefined=grid.study.metrics.undefined), out / COMPARISON)
