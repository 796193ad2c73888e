"""Which cases a run trains on when the user does not say."""

from pathlib import Path

from multifocal.cohorts import Cohort, lesion_shares, make_folds, read_fold
from multifocal.errors import UserError
from multifocal.recipes import Recipe
from multifocal.training.run import Parts


def choose_parts(cohort: Cohort, recipe: Recipe, *, folds: Path | None, fold: int | None) -> Parts:
    """Return the cases to train on, validate on and leave alone.

    A fold file decides where there is one; then the cohort's own parts; else every labelled case is trained on, or
    four fifths of the subjects when the recipe monitors a metric.

    Raises:
        UserError: only one of `folds` and `fold` is given, or the file belongs to another cohort.
    """
    if chosen := read_fold(cohort, folds=folds, fold=fold):
        return Parts(chosen.train, chosen.validation, chosen.test)
    labelled = cohort.subset([case.name for case in cohort if case.label is not None])
    if not len(labelled):
        raise UserError(f"cohort {cohort.name}: no case has a label to train on")
    if any(case.split == "val" for case in labelled):
        return Parts(
            *(tuple(case.name for case in labelled if case.split == part) for part in ("train", "val", "test"))
        )
    usable = labelled.subset([case.name for case in labelled if case.split != "test"])
    left = tuple(case.name for case in labelled if case.split == "test")
    if recipe.training.monitor is None:
        return Parts(tuple(case.name for case in usable), (), left)
    drawn = make_folds(usable, lesion_shares(usable), k=5, seed=recipe.training.seed).folds[0]
    return Parts(drawn.train, drawn.test, left)
