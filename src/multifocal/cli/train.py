"""`multifocal train`."""

from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import CohortPath, Device, Fold, FoldFile, Layout, Overrides, Threads
from multifocal.cli.screen import notice, screen


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name of `multifocal recipes`, or a YAML file.")],
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run folder to write.")],
    set_: Overrides = None,
    folds: FoldFile = None,
    fold: Fold = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN (begin it when there is none).")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Where prepared cases are kept; runs may share it.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Data-parallel processes (DDP).")] = 1,
    members: Annotated[int, typer.Option(min=1, help="Members of an ensemble that are trained at a time.")] = 1,
    device: Device = "auto",
    threads: Threads = None,
    layout: Layout = "auto",
) -> None:
    """Train a recipe on a cohort.

    Without a fold file, the cohort's own train and val parts are used where it has them; else every labelled case is
    trained on, one in five held out first when the recipe monitors a metric.

    Where the cases have no Z-ADC, default-adc is trained in the place of default, and a line says so.

    Example: `multifocal train default BONBID2023_Train --out runs/fold0 --folds folds.json --fold 0`
    """
    from multifocal import recipes
    from multifocal.cohorts import open_cohort
    from multifocal.errors import UserError
    from multifocal.threads import settle_threads

    settings = recipes.load(recipe, overrides=set_ or ())
    if not settings.needs_training:
        raise UserError(f"recipe {settings.name} needs no training; run `multifocal predict {recipe} COHORT --out DIR`")
    cases = open_cohort(cohort, layout=layout)
    from multifocal.systems.fallback import missing_maps, stands_in_line
    from multifocal.systems.loading import ABOUT, is_finished
    from multifocal.systems.tuning import read_tuned
    from multifocal.training import choose_split, fit  # seconds, which a mistake need not wait for

    settle_threads(threads)
    if missing_maps(settings.maps, cases.maps) and (name := recipes.fallback(recipe)) is not None:
        other = recipes.load(name)
        if not missing_maps(other.maps, cases.maps):
            line = stands_in_line(settings, other, maps=cases.maps)
            if set_:
                raise UserError(f"--set {set_[0]}: is for {settings.name}, and {line}; train {name} itself")
            notice(line)
            settings = other
    split = choose_split(cases, settings, folds=folds, fold=fold)
    console = screen()
    if resume and (out / ABOUT).is_file() and is_finished(settings, out):
        fit(settings, cases, split=split, out=out, resume=True, processes=processes, device=device)  # if it is this run
        console.print(f"{out}: this run is finished; predict with it", soft_wrap=True)
        return
    console.print(
        f"{settings.name}: {len(split.train)} cases to train on, {len(split.validation)} to validate, "
        f"{len(split.test)} left for testing"
    )
    weights = fit(
        settings,
        cases,
        split=split,
        out=out,
        cache=cache,
        resume=resume,
        processes=processes,
        members=members,
        device=device,
    )
    console.print(f"{'weights' if weights != out else 'run'}: {weights}", soft_wrap=True)
    if tuned := read_tuned(out):
        console.print(f"tuned: {tuned}", soft_wrap=True)
