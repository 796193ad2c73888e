"""A run folder: everything needed to repeat the run, and what came of it."""

from pathlib import Path
from typing import Any, Literal

import torch

from multifocal import recipes
from multifocal.cohorts import Cohort, Fold, fingerprint
from multifocal.cohorts.fingerprint import fingerprints
from multifocal.errors import UserError
from multifocal.files import WRITING, write_error, write_json, write_text
from multifocal.recipes import Recipe
from multifocal.systems.loading import ABOUT, IMAGES, RECIPE, is_finished, read_about
from multifocal.versions import versions

CACHE = "cache"


def describe(recipe: Recipe, cohort: Cohort, split: Fold, *, processes: int) -> dict[str, Any]:
    """Return what `run.json` says: with recipe.yaml, everything needed to repeat the run.

    Args:
        recipe: what is fitted.
        cohort: where the cases are.
        split: which of them train and validate.
        processes: data-parallel processes.

    Returns:
        Plain values, as JSON has them.
    """
    whole, images = fingerprints(cohort.subset([*split.train, *split.validation]))
    seeds = [training.training.seed for training in recipe.trainings]
    return {
        "recipe": recipe.name,
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "cohort": {"name": cohort.name, "layout": cohort.layout, "fingerprint": whole},
        IMAGES: images,
        "parts": split.model_dump(mode="json"),
        "versions": versions(),
        "processes": processes,
        "threads": torch.get_num_threads(),
    }


def check_run(
    folder: Path, *, about: dict[str, Any], recipe: Recipe, cohort: Cohort, resume: bool
) -> Literal["new", "begun", "finished"]:
    """Check that a folder is free, or holds this very run.

    Args:
        folder: the run folder.
        about: what `describe` says of this run.
        recipe: of this run.
        cohort: where its cases are.
        resume: whether a run that is there may be continued.

    Returns:
        What it holds of this run.

    Raises:
        UserError: the folder holds something already (and `resume` is off), or another run.
    """
    try:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise write_error(folder, error) from error
    if ABOUT in held:
        if not resume:
            raise UserError(f"{folder}: already holds a run; --resume continues it, or choose another folder")
        _check_same(folder, about, recipe, cohort)
        return "finished" if is_finished(recipe, folder) else "begun"
    # An attempt that fails before the run begins leaves prepared cases; one that is killed, a file half written; and
    # what it printed may be kept beside the run.
    if any(name != CACHE and not name.startswith(WRITING) and not name.endswith(".log") for name in held):
        raise UserError(f"{folder}: is not empty and holds no run; choose another folder")
    return "new"


def holds_recipe(folder: str | Path, recipe: Recipe) -> bool:
    """Return whether a run folder's recipe is this one, whatever keys with defaults were added since it was written.

    Args:
        folder: the run folder.
        recipe: what it is compared with.

    Returns:
        True, too, where a killed run has no recipe yet.

    Example:
        >>> from multifocal import recipes
        >>> holds_recipe(Path("runs/none-yet"), recipes.load("hie-small"))
        True
    """
    folder = Path(folder)
    if not (folder / RECIPE).exists():
        return True
    try:
        return recipes.load(folder / RECIPE) == recipe
    except UserError:
        return False


def begin_run(folder: Path, *, about: dict[str, Any], recipe: Recipe) -> None:
    """Write down what the run is, unless a run that is resumed has done so.

    Args:
        folder: the run folder.
        about: what `describe` says of the run.
        recipe: of the run.

    Raises:
        UserError: a file cannot be written.
    """
    if not (folder / ABOUT).exists():
        write_json(folder / ABOUT, about)
    if not (folder / RECIPE).exists():
        write_text(folder / RECIPE, recipes.dump(recipe))


def _check_same(folder: Path, about: dict[str, Any], recipe: Recipe, cohort: Cohort) -> None:
    """Raise `UserError` unless the folder's run is this one: same recipe, cases and contents."""
    before = read_about(folder)
    if not holds_recipe(folder, recipe):
        raise UserError(f"{folder}: was begun with other settings (see recipe.yaml); choose another folder for these")
    same_parts, contents = before["parts"] == about["parts"], about["cohort"]["fingerprint"]
    used = [*before["parts"]["train"], *before["parts"]["validation"]]
    if not same_parts and {case.name for case in cohort}.issuperset(used):
        # Cases are dealt by their lesions: where a label has changed, the parts may differ for that alone.
        contents = fingerprint(cohort.subset(used))
        same_parts = contents != before["cohort"].get("fingerprint")
    for same, name in (
        (same_parts, "other cases"),
        (before["cohort"] == {**about["cohort"], "fingerprint": contents}, "other data (the files' contents differ)"),
        (before.get("processes") == about["processes"], f"--processes {before.get('processes')}"),
    ):
        if not same:
            raise UserError(f"{folder}: was begun with {name}; choose another folder for these")
