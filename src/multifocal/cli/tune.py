"""`multifocal tune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from multifocal.cli.options import CohortPath, Device, Fold, FoldFile, Layout, Threads
from multifocal.cli.screen import progress, screen

if TYPE_CHECKING:
    from multifocal.cohorts import Cohort

Values = str | None


def tune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    cohort: CohortPath,
    metric: Annotated[
        list[str] | None, typer.Option(help="What to choose by; of several, the sum of ranks (default: dice).")
    ] = None,
    threshold: Annotated[Values, typer.Option(metavar="P,P,…", help="Thresholds to try.")] = None,
    hysteresis: Annotated[
        Values, typer.Option(metavar="P,P,…", help="Lower thresholds that lesions grow down to; null is none.")
    ] = None,
    min_size_ml: Annotated[Values, typer.Option(metavar="ML,ML,…", help="Least volumes to try.")] = None,
    min_size_voxels: Annotated[Values, typer.Option(metavar="N,N,…", help="Least numbers of voxels to try.")] = None,
    largest_only: Annotated[bool, typer.Option("--largest-only", help="Try the largest component alone, too.")] = False,
    calibration: Annotated[
        Literal["temperature"] | None, typer.Option(help="Calibrate probabilities first, by one temperature.")
    ] = None,
    folds: FoldFile = None,
    fold: Fold = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what was chosen before.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that score.")] = 1,
    device: Device = "auto",
    threads: Threads = None,
    layout: Layout = "auto",
) -> None:
    """Choose what stands between a run's probabilities and its masks, by what it scores on cases that are not reported.

    The cases are the validation cases of fold K; without a fold file those of COHORT that RUN validated on, or, where
    there are none, all that have a label. None may have been trained on. RUN/tuned.json holds the choice and all that
    was tried; `predict` takes it and marks these cases as known. Of a study, `tune` in its file does it fold by fold.

    Example: `multifocal tune runs/fold0 BONBID2023_Train --metric dice --threshold 0.3,0.4,0.5 --min-size-ml 0,0.05`
    """
    from multifocal import recipes
    from multifocal.cohorts import open_cohort
    from multifocal.config import parse_yaml, validate
    from multifocal.errors import UserError
    from multifocal.files import locked
    from multifocal.systems import Tuning, system_class
    from multifocal.systems.loading import RECIPE
    from multifocal.systems.tuning import TUNED
    from multifocal.threads import settle_threads
    from multifocal.training import tune_run

    lists = {
        "threshold": threshold,
        "hysteresis": hysteresis,
        "min_size_ml": min_size_ml,
        "min_size_voxels": min_size_voxels,
    }
    asked = {name: parse_yaml(f"[{text}]", where=f"--{name}") for name, text in lists.items() if text is not None}
    asked |= {"largest_only": [False, True]} if largest_only else {}
    tuning = validate(Tuning, {"metric": metric or ["dice"], "calibration": calibration, **asked}, where="tune")
    settle_threads(threads)
    if (run / "study.yaml").is_file():
        raise UserError(f"{run}: is a study; say tune in its study.yaml, and every arm is tuned fold by fold")
    if not (run / RECIPE).is_file():
        raise UserError(f"{run}: is not a run folder (no {RECIPE}); give the folder that `multifocal train` wrote")
    recipe = recipes.load(run / RECIPE)
    if not system_class(recipe).is_fitted(recipe, run):
        raise UserError(f"{run}: training is not finished; continue it with `multifocal train … --resume`")
    if (run / TUNED).exists() and not overwrite:
        raise UserError(f"{run / TUNED}: is there already; --overwrite replaces it")
    cases = _cases(run, open_cohort(cohort, layout=layout), folds=folds, fold=fold)
    busy = f"{run}: another process is at work there; wait for it to end"
    with locked(run, busy=busy), progress() as bar:
        task = bar.add_task("predicting", total=len(cases))
        tuned = tune_run(
            run,
            recipe,
            cases,
            tuning,
            device=device,
            workers=workers,
            progress=lambda case: bar.update(task, advance=1, description=case.name),
        )
    console = screen()
    console.print(f"tuned: {tuned}", soft_wrap=True)
    console.print(f"written: {run / TUNED}; these cases no longer tell how well it does on new ones", soft_wrap=True)


def _cases(run: Path, cohort: "Cohort", *, folds: Path | None, fold: int | None) -> "Cohort":
    """Return the cases to choose on."""
    from multifocal.cohorts import read_fold
    from multifocal.errors import UserError
    from multifocal.systems.loading import seen_in

    if chosen := read_fold(cohort, folds=folds, fold=fold):
        if not chosen.validation:
            raise UserError(f"{folds}: fold {fold} has no validation cases to tune on; take a nested fold file")
        return cohort.subset(chosen.validation)
    seen = seen_in(run).among(cohort)
    labelled = [case.name for case in cohort if case.label is not None]
    validated = [name for name in labelled if seen.get(name) == "validation"]
    if not labelled:
        raise UserError(f"cohort {cohort.name}: no case has a label to tune by")
    return cohort.subset(validated or labelled)
