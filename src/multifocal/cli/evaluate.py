"""`multifocal evaluate`."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from multifocal.cli.options import (
    ClassValues,
    CohortPath,
    Connectivity,
    Fold,
    FoldFile,
    Ignore,
    Layout,
    Undefined,
    class_values,
    meaning,
)
from multifocal.cli.screen import notice, progress, screen

if TYPE_CHECKING:
    from multifocal.cohorts import Cohort
    from multifocal.evaluation.uncertainty import UncertaintyScores

LESIONS, OTHERS = "What a lesion is", "Other evaluations and masks"


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="A folder of `<case>_lesion.<ext>`.")],
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where cases.csv, lesions.csv and summary.json go.")],
    folds: FoldFile = None,
    fold: Fold = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score cases without a prediction as empty masks.")
    ] = False,
    undefined: Undefined = "skip",
    tolerance: Annotated[float, typer.Option(min=0, help="Tolerance of the NSD in mm.")] = 2.0,
    convention: Annotated[
        Literal["surfel", "voxel"],
        typer.Option(help="Surfaces: area elements (as the challenge), or edge voxels (as MONAI)."),
    ] = "surfel",
    connectivity: Annotated[
        Connectivity, typer.Option(help="Lesions: voxels that share a corner, or a face.", rich_help_panel=LESIONS)
    ] = "full",
    min_size: Annotated[
        float, typer.Option(min=0, help="Leave out lesions of fewer ml, predicted and true.", rich_help_panel=LESIONS)
    ] = 0.0,
    matching: Annotated[
        Literal["overlap", "iou"],
        typer.Option(help="A match: any overlap, or IoU, one to one.", rich_help_panel=LESIONS),
    ] = "overlap",
    threshold: Annotated[
        float, typer.Option(max=1, help="The least IoU of a match, under iou.", rich_help_panel=LESIONS)
    ] = 0.5,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Under iou, a match is above the threshold, not from it on.", rich_help_panel=LESIONS
        ),
    ] = False,
    score: Annotated[
        Literal["dice", "iou"] | None,
        typer.Option(help="What SQ and PQ average; else as matched.", rich_help_panel=LESIONS),
    ] = None,
    label: ClassValues = None,
    ignore: Ignore = None,
    label_maps: Annotated[
        Literal["neither", "target", "both"],
        typer.Option(help="Masks in which every value but 0 is one lesion.", rich_help_panel=OTHERS),
    ] = "neither",
    protocol: Annotated[
        Literal["bonbid-2023"] | None,
        typer.Option(help="Measure as a challenge did, mistakes and all.", rich_help_panel=OTHERS),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Judge how sure the system is, too, by probabilities and members beside the masks: uncertainty.json.",
            rich_help_panel=OTHERS,
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation in DIR.")] = False,
    layout: Layout = "auto",
) -> None:
    """Score predictions case by case and lesion by lesion, in native space; with a fold file, the test cases of fold K.

    Ctrl-C keeps the cases that are finished; the same command goes on with the others.

    Example: `multifocal evaluate masks BONBID2023_Train --out scores`

    Example: `multifocal evaluate masks BONBID2023_Train --out scores --uncertainty`
    """
    from multifocal.cohorts import open_cohort, read_fold
    from multifocal.cohorts.seen import seen_line
    from multifocal.comparison import mean_intervals
    from multifocal.errors import UserError
    from multifocal.evaluation import Results, evaluate_cohort, summary_tables, write_results
    from multifocal.evaluation.tables import shown_metrics

    if (out / "summary.json").exists() and not overwrite:
        raise UserError(f"{out}: already holds an evaluation; choose another folder, or --overwrite to replace it")
    if protocol and undefined != "skip":
        raise UserError(f"--protocol {protocol} leaves undefined distances out; leave --undefined out, too")
    labels = class_values(label)
    cases = whole = open_cohort(cohort, layout=layout)
    if chosen := read_fold(cases, folds=folds, fold=fold):
        cases = cases.subset(chosen.test)
    judged = None
    if uncertainty:
        meant = replace(cases, labels=meaning(label, ignore) or cases.labels)
        judged = _judged(predictions, meant, others=[case.name for case in whole])
    journal = out / "unfinished.jsonl"

    def tell(kept: int, others: int) -> None:
        rest = f"; {others} kept cases are of other settings or files, and are not used" if others else ""
        notice(f"going on: {kept} of {len(cases)} cases are scored already{rest}")

    with progress() as bar:
        task = bar.add_task("scoring", total=len(cases))
        scores = evaluate_cohort(
            predictions,
            cases,
            allow_missing=allow_missing,
            others=[case.name for case in whole],
            labels=labels,
            ignore=ignore,
            workers=workers,
            journal=journal,
            resumed=tell,
            progress=lambda done, total: bar.update(task, completed=done),
            tolerance=tolerance,
            convention=convention,
            connectivity=connectivity,
            min_size=min_size,
            matching=matching,
            threshold=threshold,
            strict=strict,
            score=score,
            label_maps=label_maps,
            protocol=protocol,
        )
    summary = write_results(scores, out, undefined=undefined)
    journal.unlink(missing_ok=True)
    _keep(judged, out)
    console = screen()
    results = Results(scores.rows, scores.lesions, summary)
    shown = [name for names in shown_metrics().values() for name in names]
    intervals = {
        name: mean_intervals(results, metrics=shown, label=name or None, undefined=undefined)
        for name in summary.get("labels", [""])
    }
    for table in summary_tables(summary, intervals=intervals, words=scores.words):
        console.print(table)
    if judged is not None:
        from multifocal.evaluation.uncertainty import uncertainty_tables

        for table in uncertainty_tables(judged.summary):
            console.print(table)
    if scores.seen:
        console.print(seen_line(scores.seen, len(cases)), soft_wrap=True)
    console.print(f"written: {out / 'cases.csv'}, {out / 'lesions.csv'}, {out / 'summary.json'}", soft_wrap=True)


def _judged(predictions: Path, cases: "Cohort", *, others: Collection[str]) -> "UncertaintyScores":
    """Judge the uncertainty before the masks, so that what is missing for it is told before they are scored."""
    from multifocal.evaluation.uncertainty import evaluate_uncertainty

    with progress() as bar:
        task = bar.add_task("how sure", total=len(cases))
        return evaluate_uncertainty(
            predictions, cases, others=others, progress=lambda done, total: bar.update(task, completed=done)
        )


def _keep(judged: "UncertaintyScores | None", out: Path) -> None:
    """Write what was found of the uncertainty; without it, leave nothing of an evaluation that is replaced."""
    from multifocal.evaluation.results import UNCERTAINTY

    if judged is not None:
        from multifocal.evaluation.uncertainty import write_uncertainty

        write_uncertainty(judged, out)
        return
    for name in UNCERTAINTY:
        (out / name).unlink(missing_ok=True)
