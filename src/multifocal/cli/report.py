"""`multifocal report`."""

from pathlib import Path
from typing import Annotated

import typer

from multifocal.cli.options import Layout
from multifocal.cli.screen import progress, screen


def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A folder that `multifocal study` wrote.")],
    cohort: Annotated[
        Path | None, typer.Argument(metavar="[COHORT]", help="The study's cohort, for pages of its cases.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    layout: Layout = "auto",
) -> None:
    """Write STUDY/report: tables, charts and cases to look at, as pages that need no server and no network.

    An older report is replaced when the new one is whole.

    Example: `multifocal report studies/losses BONBID2023_Train --workers 2`
    """
    from multifocal.cohorts import open_cohort
    from multifocal.reports import write_report

    cases = None if cohort is None else open_cohort(cohort, layout=layout)
    with progress() as bar:
        task = bar.add_task("drawing", total=None)
        page = write_report(
            study,
            cases,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    screen().print(f"open in a browser: {page}", soft_wrap=True)
