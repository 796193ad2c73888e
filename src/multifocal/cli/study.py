"""`multifocal study` and `multifocal studies`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from multifocal.cli.options import CohortPath, Device, Layout
from multifocal.cli.screen import progress, screen

if TYPE_CHECKING:
    from multifocal.studies import Grid


def study(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A name of `multifocal studies`, or a YAML file.")],
    cohort: CohortPath,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The study's folder: made, or continued.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the study; may be given again."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at once, at most (default: what cores and memory allow).")
    ] = None,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Where cells run: this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Of the Ray cluster (default: RAY_ADDRESS, or a new one).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the cells and how long they would take.")] = False,
    rerun_stale: Annotated[
        bool, typer.Option("--rerun-stale", help="Set cells of other settings or data aside, and run them again.")
    ] = False,
    device: Device = "auto",
    layout: Layout = "auto",
) -> None:
    """Train and test every arm of a study on every fold with every seed, and compare the arms.

    Run it again to go on after a stop: what is finished is not repeated. Exit code 1 when a cell failed.

    Example: `multifocal study hie-losses BONBID2023_Train --out studies/losses --dry-run`

    Example: `multifocal study mine.yaml COHORT --out studies/mine --set set.training.epochs=20 --set folds.run=[0]`

    Example: `multifocal study hie-losses /shared/BONBID2023_Train --out /shared/losses --engine ray --address auto`
    """
    from multifocal import studies as floor
    from multifocal.cli.study_screen import run_on_screen
    from multifocal.cohorts import open_cohort
    from multifocal.device import check_device
    from multifocal.errors import UserError
    from multifocal.threads import cores

    chosen = floor.load(study, overrides=set_ or ())
    check_device(device)
    if device.startswith("cuda") and not chosen.resources.gpus:
        raise UserError(
            f"--device {device}: the study's cells see no GPU (resources.gpus is 0); add --set resources.gpus=1"
        )
    cases = open_cohort(cohort, layout=layout)
    console = screen()
    if engine == "ray" and (workers or dry_run):
        raise UserError("--workers and --dry-run are about this machine; leave them out with --engine ray")
    if engine == "ray" and ":" in device:
        raise UserError(f"--device {device} names a GPU of this machine; --device cuda takes those of the Ray cluster")
    if engine == "local" and address:
        raise UserError("--address names a Ray cluster; add --engine ray")
    if engine == "ray":
        run = partial(floor.run_on_ray, resources=chosen.resources, address=address)
        scorers = cores()
    else:
        slots = floor.slots(chosen.resources, workers=workers, device=device)
        device = device.partition(":")[0]  # the cell sees no other GPU than its slot's
        run = partial(floor.run_here, resources=chosen.resources, slots=slots)
        scorers = len(slots)
    if dry_run:
        _estimate(console, floor.make_grid(chosen, cases), cohort, layout=layout, device=device, slots=scorers)
        return
    failed = run_on_screen(
        console,
        chosen,
        cases,
        out=out,
        cohort=cohort,
        engine=run,
        name=engine,
        scorers=scorers,
        rerun_stale=rerun_stale,
        device=device,
        layout=layout,
    )
    if failed:
        console.print(f"{failed} cells failed; run the same command again to try them again", style="red")
        raise typer.Exit(1)


def studies(name: Annotated[str | None, typer.Argument(help="Print this study as YAML.")] = None) -> None:
    """List the studies that come with the package, or print one.

    Example: `multifocal studies hie-losses > mine.yaml`
    """
    from multifocal import studies as floor
    from multifocal.cli.lists import show

    if name is not None:
        typer.echo(floor.written(name), nl=False)
        return
    loaded = [floor.load(name) for name in floor.names()]
    show("study", "what it is", ((study.name, f"{study.description} ({study.source})") for study in loaded))


def _estimate(console: Console, grid: "Grid", cohort: Path, *, layout: str, device: str, slots: int) -> None:
    from multifocal.cli.study_screen import show_costs, show_grid
    from multifocal.studies.probe import probe

    show_grid(console, grid)
    with progress() as bar:
        task = bar.add_task("measuring", total=len(grid.study.arms))
        costs = probe(
            grid,
            cohort=cohort,
            layout=layout,
            device=device,
            progress=lambda arm: bar.update(task, description=f"measuring {arm}", advance=1),
        )
    show_costs(console, grid, costs, slots=slots)
