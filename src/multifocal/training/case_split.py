"""Which cases a run trains on when the user does not say."""

from pathlib import Path

from multifocal.cohorts import Cohort, Fold, lesion_shares, make_folds, read_fold, with_labels
from multifocal.errors import UserError
from multifocal.recipes import Recipe

FIFTHS = 5  # one in so many subjects is held out for validation


def choose_split(cohort: Cohort, recipe: Recipe, *, folds: str | Path | None = None, fold: int | None = None) -> Fold:
    """Return the cases to train on, validate on and leave alone.

    A fold file decides where there is one; then the cohort's own parts, in which a case without a part trains; else
    every labelled case is trained on, or four fifths of the subjects when the recipe monitors a metric or
    tunes what becomes of a probability.

    Args:
        cohort: the cases; those without a label are left out.
        recipe: what is to be trained.
        folds: a fold file.
        fold: which of its folds, from 0.

    Returns:
        The names of the cases to train on, to validate on, and to leave for testing.

    Raises:
        UserError: only one of `folds` and `fold` is given, the file belongs to another cohort, or there are too few
            subjects to hold one out.

    Example:
        >>> from multifocal import recipes
        >>> from multifocal.cohorts import Case, ImageFile
        >>> scan = ImageFile(Path("a.mha"))
        >>> cases = [Case(name, name, {"adc": scan}, scan, split) for name, split in (("a", "val"), ("b", None))]
        >>> choose_split(Cohort("demo", Path("."), "manifest", tuple(cases)), recipes.load("hie-small")).train
        ('b',)
    """
    if chosen := read_fold(cohort, folds=folds and Path(folds), fold=fold):
        return chosen
    labelled = cohort.subset([case.name for case in cohort if case.label is not None])
    if not len(labelled):
        raise UserError(f"cohort {cohort.name}: no case has a label to train on")
    validation = tuple(case.name for case in labelled if case.split == "val")
    test = tuple(case.name for case in labelled if case.split == "test")
    usable = labelled.subset([case.name for case in labelled if case.split not in ("val", "test")])
    if validation or (recipe.monitor is None and not recipe.is_tuned):
        return Fold(train=tuple(case.name for case in usable), validation=validation, test=test)
    subjects = len({case.subject for case in usable})
    if subjects < 2:
        if recipe.monitor is None:
            raise UserError(
                f"cohort {cohort.name}: {subjects} subject to train on, and recipe {recipe.name} is tuned on another "
                "one: add cases, or leave tune out"
            )
        raise UserError(
            f"cohort {cohort.name}: {subjects} subject to train on, and recipe {recipe.name} keeps the best epoch by "
            f"{recipe.monitor}, which needs another one to validate: add cases, or --set training.monitor=null --set "
            "training.patience=null to keep the last epoch"
        )
    seed = next((one.training.seed for one in recipe.trainings), 0)
    usable = with_labels(usable, recipe.target_labels)
    drawn = make_folds(usable, lesion_shares(usable), k=min(FIFTHS, subjects), seed=seed).folds[0]
    return Fold(train=drawn.train, validation=drawn.test, test=test)
