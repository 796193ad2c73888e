"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads to compute with; without it OMP_NUM_THREADS, else the free cores."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
