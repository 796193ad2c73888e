"""What stands between probability and mask, chosen for a run on given cases, and written into it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from multifocal.cohorts import Case, Cohort, check_labels, with_labels
from multifocal.cohorts.seen import Seen
from multifocal.errors import UserError
from multifocal.files import WRITING, write_json
from multifocal.recipes import Recipe
from multifocal.systems import Tuned, Tuner, Tuning, predict_cohort, system_class
from multifocal.systems.combination import PROBABILITY, predictions_by_case
from multifocal.systems.loading import seen_in
from multifocal.systems.tuning import TUNED


def tune_run(
    run: str | Path,
    recipe: Recipe,
    cohort: Cohort,
    tuning: Tuning,
    *,
    device: str = "auto",
    workers: int = 1,
    progress: Callable[[Case], None] | None = None,
) -> Tuned:
    """Choose what stands between a run's probabilities and its masks, and write it to the run's `tuned.json`.

    Args:
        run: the folder of a run that is fitted.
        recipe: of the run, as `recipe.yaml` has it.
        cohort: the cases to choose on, with labels. None of them may have been trained on.
        tuning: what is tried.
        device: what to compute on.
        workers: processes that score.
        progress: called after every case that is predicted.

    Returns:
        What was chosen; predictions of the run take it from now on.

    Raises:
        UserError: the recipe has no probabilities to go by, a case was trained on, has no label or one with values
            that nobody named, or cannot be predicted or scored, or a file cannot be written.

    Example:
        >>> tuning = Tuning(metric="dice", threshold=(0.3, 0.4, 0.5))
        >>> tune_run(Path("runs/0"), recipe, cohort.subset(["a", "b"]), tuning).choice  # doctest: +SKIP
        {'threshold': 0.4}
    """
    run = Path(run)
    if recipe.postprocess is None:
        several = recipe.target_labels.several or recipe.predicts_instances
        why = "predicts several classes, or instances" if several else "makes masks without a probability"
        raise UserError(f"recipe {recipe.name} {why}: there is no one probability to tune")
    if unlabelled := [case.name for case in cohort if case.label is None]:
        raise UserError(f"case {unlabelled[0]}: has no label to tune by; leave it out")
    cohort = with_labels(cohort, recipe.target_labels)
    check_labels(cohort)
    model = system_class(recipe).load(recipe, run, device=device)
    names = [case.name for case in cohort]
    seen = Seen.of_all([model.seen, seen_in(run)]).among(cohort)
    if trained := [name for name in names if seen.get(name) == "train"]:
        raise UserError(
            f"{run}: was trained on {trained[0]}, where its probabilities are better than on new cases; tune on cases "
            "that it was not trained on: a fold's validation cases (--folds, --fold), or another cohort"
        )
    # Removed when it is done; of a process that is killed, by the next one that is at work in the run.
    with TemporaryDirectory(prefix=WRITING, dir=run) as folder:
        predict_cohort(model, cohort, folder, probabilities=True, progress=progress)
        maps = predictions_by_case(Path(folder), PROBABILITY)
        tuned = Tuner(maps, cohort, tuning, recipe.postprocess, workers=workers).on(names)
    write_json(run / TUNED, tuned.model_dump(mode="json"))
    return tuned
