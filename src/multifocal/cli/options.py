"""Arguments and options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from multifocal.cohorts import Labels

CohortPath = Annotated[Path, typer.Argument(metavar="COHORT", help="A folder of cases, or a manifest (CSV).")]
Layout = Annotated[str, typer.Option(help="The folder's layout; auto recognises it.")]
FoldFile = Annotated[
    Path | None, typer.Option("--folds", metavar="FILE", help="A fold file of `multifocal data folds`.")
]
Fold = Annotated[int | None, typer.Option("--fold", metavar="K", help="Which of its folds, counted from 0.")]
Connectivity = Literal["full", "face"]
Undefined = Annotated[
    Literal["skip", "diagonal"],
    typer.Option(help="Undefined distances: left out of means, or the image's diagonal."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe; may be given again."),
]
_VALUES = "What the values of labels mean"
ClassValues = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=VALUES",
        help="A class of several, such as `core=1,4`; may be given again.",
        rich_help_panel=_VALUES,
    ),
]
Ignore = Annotated[
    int | None,
    typer.Option(min=1, help="The value of true voxels that nobody has judged.", rich_help_panel=_VALUES),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads to compute with; without it OMP_NUM_THREADS, else the free cores."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


def class_values(given: list[str] | None) -> dict[str, list[int]] | None:
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


def meaning(given: list[str] | None, ignore: int | None) -> "Labels | None":
    """Return what `--label` and `--ignore` say; None where they say nothing. Classes that share a value overlap."""
    from multifocal.cohorts import Labels
    from multifocal.config import validate

    classes = class_values(given)
    if classes is None and ignore is None:
        return None
    values = [value for members in (classes or {}).values() for value in set(members)]
    data = {"classes": classes or {}, "overlap": len(set(values)) < len(values), "ignore": ignore}
    return validate(Labels, data, where="--label and --ignore")
