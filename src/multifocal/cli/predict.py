"""`multifocal predict`."""

from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import CohortPath, Device, Fold, FoldFile, Layout, Overrides, Threads
from multifocal.cli.screen import notice, progress, screen


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run folder, a name of `multifocal models`, or a recipe that needs no training."
        ),
    ],
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the masks go.")],
    folds: FoldFile = None,
    fold: Fold = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write probabilities, too.")] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts",
            "--members",
            help="Write what each part finds by itself, too (members, first stage, boxes): DIR/parts/PART.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    set_: Overrides = None,
    device: Device = "auto",
    threads: Threads = None,
    layout: Layout = "auto",
) -> None:
    """Write a lesion mask for every case, on the scan's own grid.

    With a fold file, only the test cases of fold K: five runs can fill one folder, each with the cases it never saw.

    Example: `multifocal predict runs/fold0 BONBID2023_Train --out masks --folds folds.json --fold 0`

    Example: `multifocal predict runs/ensemble BONBID2023_Train --out masks --parts`

    Example: `multifocal predict hie-synthetic BONBID2023_Train --out masks`

    Example: `multifocal predict zadc-threshold BONBID2023_Train --out masks --set below=-2.5`
    """
    from multifocal.cohorts import open_cohort, read_fold
    from multifocal.cohorts.seen import seen_line
    from multifocal.systems import load_model, predict_cohort
    from multifocal.systems.system import PARTS
    from multifocal.threads import settle_threads

    settle_threads(threads)
    model = load_model(run, overrides=tuple(set_ or ()), device=device)
    if model.tuned:
        notice(f"tuned: {model.tuned}")
    cases = open_cohort(cohort, layout=layout)
    if chosen := read_fold(cases, folds=folds, fold=fold):
        cases = cases.subset(chosen.test)
    if seen := model.seen.among(cases):
        notice(seen_line(seen, len(cases)))
    with progress() as bar:
        task = bar.add_task("predicting", total=len(cases))
        written = predict_cohort(
            model,
            cases,
            out,
            probabilities=probabilities,
            parts=parts,
            overwrite=overwrite,
            progress=lambda case: bar.update(task, advance=1, description=case.name),
        )
    screen().print(f"{len(written)} masks in {out}", soft_wrap=True)
    for name in model.parts if parts else ():
        screen().print(f"{len(written)} masks of part {name} in {out / PARTS / name}", soft_wrap=True)
