"""An arm tuned by nested folds: for each fold, by what was predicted of the cases of all others."""

from collections.abc import Mapping
from pathlib import Path

from multifocal.files import write_json
from multifocal.metrics import ScoringOptions
from multifocal.studies.grid import Grid
from multifocal.studies.tables import Row
from multifocal.systems import Tuned, Tuner
from multifocal.systems.combination import Vote
from multifocal.volumes import Volume, write

CHOICES = "tuned"  # of an arm: a file for each fold and seed
Maps = Mapping[tuple[int, int], Mapping[str, Path]]


def tune_arm(grid: Grid, arm: str, maps: Maps, masks: Mapping[str, Path], out: Path, *, workers: int = 1) -> list[Row]:
    """Write an arm's tuned masks, and in `tuned/` what was chosen for each fold and seed.

    The settings of a fold are chosen on the test cases of the other folds, each predicted by the cell that has not
    seen it. No label of the fold itself, nor of its subjects, is looked at. Several seeds are tuned one by one, and
    their masks combined by majority vote.

    Args:
        grid: the study, which says what is tried.
        arm: one that has probabilities.
        maps: files of probabilities by case, by fold and seed, of two folds or more.
        masks: the file to write for each case.
        out: where `tuned/` goes.
        workers: processes that score.

    Returns:
        A row for each choice: arm, fold, seed, cases, the settings, and each metric on those cases, untuned and tuned.

    Raises:
        UserError: a file cannot be read or written, or there is nothing to choose by.
    """
    study, seeds, folds = grid.study, grid.study.seeds, sorted({fold for fold, _ in maps})
    rows: list[Row] = []
    chosen: dict[tuple[int, int], tuple[Tuner, Tuned]] = {}
    for seed in seeds:
        tuner = Tuner(
            {case: file for fold in folds for case, file in maps[fold, seed].items()},
            grid.cohort,
            study.tune,  # type: ignore[arg-type]  # of a study that is tuned
            grid.recipes[arm, seed].postprocess,
            options=ScoringOptions(**study.metrics.rules),
            workers=workers,
        )
        for fold in folds:
            tuned = tuner.on(_others(grid, maps, fold, seed))
            write_json(out / CHOICES / f"fold{fold}-seed{seed}.json", tuned.model_dump(mode="json"))
            chosen[fold, seed] = tuner, tuned
            rows.append(_row(arm, fold, seed, tuned))
    for fold in folds:
        for case in maps[fold, seeds[0]]:
            found = [tuner.mask(case, tuned) for tuner, tuned in (chosen[fold, seed] for seed in seeds)]
            grid_ = found[0].geometry
            array = Vote()([each.array for each in found], grid_.voxel_ml) if len(found) > 1 else found[0].array
            write(masks[case], Volume(array, grid_))
    return rows


def _others(grid: Grid, maps: Maps, fold: int, seed: int) -> list[str]:
    """Return the cases that a fold is tuned by: a fold file may have a subject, or a case, in several."""
    own = {grid.cohort.case(name).subject for name in maps[fold, seed]}
    others = dict.fromkeys(name for other, of in maps if other != fold and of == seed for name in maps[other, of])
    return [name for name in others if grid.cohort.case(name).subject not in own]


def _row(arm: str, fold: int, seed: int, tuned: Tuned) -> Row:
    best = next(point for point in tuned.points if point.settings.items() <= tuned.choice.items())
    scores = {
        f"{name} {which}": point.means[name]
        for name in tuned.tune.metric
        for which, point in (("untuned", tuned.untuned), ("tuned", best))
    }
    return {"arm": arm, "fold": fold, "seed": seed, "cases": len(tuned.cases), **tuned.choice, **scores}
