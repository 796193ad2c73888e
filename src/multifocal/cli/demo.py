"""`multifocal demo`: the main job, start to end, on synthetic scans."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.screen import screen

CASES = 24
SETTINGS = ("training.epochs=30", "network.options.features=[8,16,32,64]")


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("demo"),
    cases: Annotated[int, typer.Option(min=10, help="How many synthetic scans.")] = CASES,
    epochs: Annotated[int | None, typer.Option(min=1, help="How long to train.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the scans, the folds and the training.")] = 0,
) -> None:
    """Make a synthetic cohort, train on four fifths of it, and predict and score the rest.

    Beside the trained network stand a model of the package, which comes trained on other scans, and the Z-ADC
    threshold.

    Then run a small study on it, and write its report.

    Example: `multifocal demo --out demo`
    """
    from multifocal import recipes, studies
    from multifocal.cli.study_screen import run_on_screen
    from multifocal.cohorts import lesion_shares, make_folds, open_cohort
    from multifocal.cohorts.phantom import write_phantom
    from multifocal.errors import UserError
    from multifocal.evaluation import evaluate_cohort, summary_table, write_results
    from multifocal.reports import write_report
    from multifocal.systems import load_model, predict_cohort
    from multifocal.training import fit

    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is not an empty folder; choose another one with --out, or remove it")
    console = screen()
    console.print(f"1/7 {cases} synthetic scans → {out / 'cohort'}", soft_wrap=True)
    write_phantom(out / "cohort", cases=cases, seed=seed)
    cohort = open_cohort(out / "cohort")
    folds = make_folds(cohort, lesion_shares(cohort), k=5, seed=seed)
    folds.save(out / "folds.json")
    fold = folds.fold(0, cohort)

    shorter = [*SETTINGS, f"training.seed={seed}", *([f"training.epochs={epochs}"] if epochs else [])]
    recipe = recipes.load("hie-small", overrides=shorter)
    console.print(f"2/7 train on {len(fold.train)} of them → {out / 'run'} ({', '.join(shorter)})", soft_wrap=True)
    fit(recipe, cohort, split=fold, out=out / "run")

    test = cohort.subset(fold.test)
    for step, (name, model) in enumerate(
        (("hie-small", str(out / "run")), ("hie-synthetic", "hie-synthetic"), ("zadc-threshold", "zadc-threshold")),
        start=3,
    ):
        console.print(f"{step}/7 predict and score the other {len(test)} with {name}")
        predict_cohort(load_model(model), test, out / f"masks-{name}")
        scores = evaluate_cohort(out / f"masks-{name}", test, workers=1)
        console.print(summary_table(write_results(scores, out / f"scores-{name}"), words=scores.words))

    changes = [f"seeds=[{seed}]", f"folds.seed={seed}", *([f"set.training.epochs={epochs}"] if epochs else [])]
    study = studies.load("demo", overrides=changes)
    console.print(f"6/7 study: {study.description} → {out / 'study'}", soft_wrap=True)
    slots = studies.slots(study.resources, workers=None)
    run_on_screen(
        console,
        study,
        cohort,
        out=out / "study",
        cohort=out / "cohort",
        engine=partial(studies.run_here, resources=study.resources, slots=slots),
        name="local",
        scorers=1,
    )
    console.print(f"7/7 report → {out / 'study' / 'report'}", soft_wrap=True)
    page = write_report(out / "study", cohort, workers=len(slots))
    console.print(f"done: masks and scores are in {out}{os.sep}; open in a browser: {page}", soft_wrap=True)
