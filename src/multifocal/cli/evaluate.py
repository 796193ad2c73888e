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


class Convention(StrEnum):
    """How surfaces are measured."""

    surfel = "surfel"
    voxel = "voxel"


class Connectivity(StrEnum):
    """What one lesion is."""

    full = "full"
    face = "face"


class Matching(StrEnum):
    """When two lesions match."""

    overlap = "overlap"
    iou = "iou"


class Score(StrEnum):
    """What SQ and PQ average over matches."""

    dice = "dice"
    iou = "iou"


class LabelMaps(StrEnum):
    """Which masks are label maps of instances."""

    neither = "neither"
    target = "target"
    both = "both"


class Protocol(StrEnum):
    """Whose evaluation is reproduced."""

    bonbid_2023 = "bonbid-2023"


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
    undefined: Annotated[
        Undefined, typer.Option(help="Undefined distances: left out of means, or the image's diagonal.")
    ] = Undefined.skip,
    tolerance: Annotated[float, typer.Option(min=0, help="Tolerance of the NSD in mm.")] = 2.0,
    convention: Annotated[
        Convention, typer.Option(help="Surfaces: area elements (as the challenge), or edge voxels (as MONAI).")
    ] = Convention.surfel,
    connectivity: Annotated[
        Connectivity, typer.Option(help="Lesions: voxels that share a corner, or a face.", rich_help_panel=LESIONS)
    ] = Connectivity.full,
    min_size: Annotated[
        float, typer.Option(min=0, help="Leave out lesions of fewer ml, predicted and true.", rich_help_panel=LESIONS)
    ] = 0.0,
    matching: Annotated[
        Matching, typer.Option(help="A match: any overlap, or IoU, one to one.", rich_help_panel=LESIONS)
    ] = Matching.overlap,
    threshold: Annotated[
        float, typer.Option(max=1, help="The least IoU of a match, under iou.", rich_help_panel=LESIONS)
    ] = 0.5,
    score: Annotated[
        Score | None, typer.Option(help="What SQ and PQ average; else as matched.", rich_help_panel=LESIONS)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="A class of several, such as `core=1,4`; may be given again.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    label_maps: Annotated[
        LabelMaps, typer.Option(help="Masks in which every value but 0 is one lesion.", rich_help_panel=OTHERS)
    ] = LabelMaps.neither,
    protocol: Annotated[
        Protocol | None, typer.Option(help="Measure as a challenge did, mistakes and all.", rich_help_panel=OTHERS)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an evaluation in DIR.")] = False,
    layout: Layout = "auto",
) -> None:
    """Score predictions case by case and lesion by lesion, in native space; with a fold file, the test cases of fold K.

    Ctrl-C keeps the cases that are finished; the same command goes on with the others.

    Example: `multifocal evaluate masks BONBID2023_Train --out scores`
    """
    from multifocal.cohorts import open_cohort, read_fold
    from multifocal.errors import UserError
    from multifocal.metrics import evaluate_cohort, summary_tables, write_results

    if (out / "cases.csv").exists() and not overwrite:
        raise UserError(f"{out}: already holds an evaluation; choose another folder, or --overwrite to replace it")
    if protocol and undefined is not Undefined.skip:
        raise UserError(f"--protocol {protocol} leaves undefined distances out; leave --undefined out, too")
    labels = _labels(label)
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
            labels=labels,
            workers=workers,
            journal=journal,
            progress=lambda done, total: bar.update(task, completed=done),
            tolerance=tolerance,
            convention=convention.value,
            connectivity=connectivity.value,
            min_size=min_size,
            matching=matching.value,
            threshold=threshold,
            score=score.value if score else None,
            label_maps=label_maps.value,
            protocol=protocol.value if protocol else None,
        )
    summary = write_results(scores, out, undefined=undefined.value)
    journal.unlink(missing_ok=True)
    console = screen()
    for table in summary_tables(summary):
        console.print(table)
    console.print(f"written: {out / 'cases.csv'}, {out / 'lesions.csv'}, {out / 'summary.json'}", soft_wrap=True)


def _labels(given: list[str] | None) -> dict[str, list[int]] | None:
    """Return the label values by class name, from `NAME=VALUE,VALUE`."""
    from multifocal.errors import UserError

    labels = {}
    for text in given or ():
        name, _, values = text.partition("=")
        if not name or not all(value.isdecimal() for value in values.split(",")):
            raise UserError(f"--label {text}: expected NAME=VALUES, such as core=1,4")
        if name in labels:
            raise UserError(f"--label {text}: {name} is there twice; name each class once")
        labels[name] = [int(value) for value in values.split(",")]
    return labels or None
