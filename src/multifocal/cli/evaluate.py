"""`multifocal evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import CohortPath, Fold, FoldFile, Layout
from multifocal.cli.screen import progress, screen


class Undefined(StrEnum):
    """What stands for an undefined distance."""

    skip = "skip"
    diagonal = "diagonal"


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A folder of `<case>_lesion.<ext>`.")],
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where cases.csv and summary.json go.")],
    folds: FoldFile = None,
    fold: Fold = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score cases without a prediction as empty masks.")
    ] = False,
    undefined: Annotated[
        Undefined, typer.Option(help="Undefined distances: left out of means, or the image's diagonal.")
    ] = Undefined.skip,
    tolerance: Annotated[float, typer.Option(min=0, help="Tolerance of the NSD in mm.")] = 2.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation in DIR.")] = False,
    layout: Layout = "auto",
) -> None:
    """Score predictions case by case, in native space; with a fold file, only the test cases of fold K.

    Example: `multifocal evaluate masks BONBID2023_Train --out scores`
    """
    from multifocal.cohorts import open_cohort, read_fold
    from multifocal.errors import UserError
    from multifocal.metrics import evaluate_cohort, summary_table, write_results

    if (out / "cases.csv").exists() and not overwrite:
        raise UserError(f"{out}: already holds an evaluation; choose another folder, or --overwrite to replace it")
    cases = open_cohort(cohort, layout=layout)
    if chosen := read_fold(cases, folds=folds, fold=fold):
        cases = cases.subset(chosen.test)
    journal = out / "unfinished.jsonl"
    with progress() as bar:
        task = bar.add_task("scoring", total=len(cases))
        scores = evaluate_cohort(
            predictions,
            cases,
            allow_missing=allow_missing,
            tolerance=tolerance,
            workers=workers,
            journal=journal,
            progress=lambda done, total: bar.update(task, completed=done),
        )
    summary = write_results(scores, out, undefined=undefined.value)
    journal.unlink(missing_ok=True)
    console = screen()
    console.print(summary_table(summary))
    console.print(f"written: {out / 'cases.csv'}, {out / 'lesions.csv'}, {out / 'summary.json'}", soft_wrap=True)
