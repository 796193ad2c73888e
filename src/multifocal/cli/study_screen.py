"""A study on the screen: its cells, its progress, its results."""

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from multifocal.cli.screen import progress
from multifocal.cohorts import Cohort
from multifocal.files import files_named
from multifocal.studies import Cell, Grid, Plan, Study, conclude, open_study, run_cells
from multifocal.studies.folder import folder_of
from multifocal.studies.local import Event
from multifocal.studies.probe import Probe, seconds
from multifocal.studies.run import Engine
from multifocal.studies.tables import SHOWN, Row, shown

ARMS = ("arm", "done", "cases", *SHOWN, "epochs", "epochs_to_best", "step_ms", "peak_mib", "hours")


class StudyScreen:
    """One bar over all cells and one for each that runs; in a file or a pipe, a line for each that begins or ends."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self.console, self.plan = console, plan
        name = TextColumn("{task.description}", markup=False)
        self._bars = progress(name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._running: dict[Cell, TaskID] = {}
        self._began: dict[Cell, float] = {}

    def __enter__(self) -> "StudyScreen":
        states, cells = self.plan.states, self.plan.grid.cells
        self.console.print(
            f"{self.plan.grid.study.name}: {len(cells)} cells, {len(states.done)} done, {len(states.open)} to run"
        )
        if states.foreign:
            self.console.print(f"left alone: {len(states.foreign)} cells that are not of this study")
        self._bars.start()
        self._all = self._bars.add_task("cells", total=len(cells), completed=len(states.done))
        return self

    def __exit__(self, *how: object) -> None:
        self._bars.stop()

    def update(self, event: Event) -> None:
        """Show that a cell has begun, ended, or gone on."""
        if event is None:
            for cell, task in self._running.items():
                folder = folder_of(self.plan.out, cell)
                logs = files_named(folder, "log.csv")  # members', too
                self._bars.update(task, completed=sum(map(_epochs, logs)))
            return
        job, outcome = event
        if outcome is None:
            self._began[job.cell] = time.monotonic()
            if not sys.stdout.isatty():
                self.console.print(f"begun: {job.cell.name}")
            total = sum(one.training.epochs for one in self.plan.grid.recipe(job.cell).trainings) or None
            self._running[job.cell] = self._bars.add_task(job.cell.name, total=total)
            return
        if job.cell in self._running:
            self._bars.remove_task(self._running.pop(job.cell))
        self._bars.advance(self._all)
        if outcome.state == "failed":
            took = time.monotonic() - self._began.get(job.cell, time.monotonic())
            told = f"failed: {job.cell.name}: {outcome.error} ({took:.0f} s)"
            self._bars.console.print(told, soft_wrap=True)
        elif not sys.stdout.isatty():
            self.console.print(f"done: {job.cell.name} ({outcome.epochs or 0} epochs, {outcome.seconds:.0f} s)")


def run_on_screen(
    console: Console,
    study: Study,
    cases: Cohort,
    *,
    out: Path,
    cohort: Path,
    engine: Engine,
    name: str,
    scorers: int,
    rerun_stale: bool = False,
    device: str = "auto",
    layout: str = "auto",
) -> int:
    """Run what is left of a study, conclude it, print a row an arm, and return how many cells failed."""
    with open_study(study, cases, out, engine=name, rerun_stale=rerun_stale) as plan:
        with StudyScreen(console, plan) as shown:
            outcomes = run_cells(plan, engine, cohort=cohort, layout=layout, device=device, on_event=shown.update)
        with progress() as bar:
            task = bar.add_task("scoring", total=len(study.scored))
            rows = conclude(plan, workers=scorers, progress=lambda arm: bar.update(task, description=arm, advance=1))
    show_arms(console, rows)
    console.print(f"written: {out / 'tables'}, {out / 'comparison'}, {out / 'arms'}", soft_wrap=True)
    return sum(outcome.state == "failed" for outcome in outcomes)


def show_arms(console: Console, rows: list[Row]) -> None:
    """Print a row an arm."""
    table = Table(box=None, pad_edge=False)
    names = [*ARMS[:1], *(["class"] if any("class" in row for row in rows) else []), *ARMS[1:]]
    for name in names:
        table.add_column(name, justify="left" if name in ("arm", "class") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{row['done']}/{row['cells']}" if name == "done" else shown(row[name]) for name in names))
    console.print(table)


def show_grid(console: Console, grid: Grid) -> None:
    """Print which cells there are."""
    arms, folds, seeds = grid.study.arms, grid.chosen, grid.study.seeds
    console.print(
        f"{grid.study.name} on {grid.cohort.name} ({len(grid.cohort)} cases): {len(grid.cells)} cells = {len(arms)} "
        f"arms × {len(folds)} folds × {len(seeds)} seeds"
    )
    for number in folds:
        fold = grid.folds.folds[number]
        parts = f"{len(fold.train)} to train on, {len(fold.validation)} to validate, {len(fold.test)} to test"
        console.print(f"fold {number}: {parts}")


def show_costs(console: Console, grid: Grid, costs: Mapping[str, Probe], *, slots: int) -> None:
    """Print what each arm costs, and how long the whole study would take."""
    table = Table(box=None, pad_edge=False)
    for name in ("arm", "step ms", "predict s", "peak MiB", "hours"):
        table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    hours = {arm: seconds(grid, arm, cost) / 3600 for arm, cost in costs.items()}
    for arm, cost in costs.items():
        table.add_row(arm, *(shown(value) for value in (cost.step_ms, cost.predict_s, cost.peak_mib, hours[arm])))
    console.print(table)
    console.print(
        f"{sum(hours.values()):.2f} hours of cells, {slots} at once: about {sum(hours.values()) / slots:.2f} hours, "
        "if none stops early; beside it, once: reading and preparing the cases"
    )
    if (peak := max(cost.peak_mib for cost in costs.values()) / 1024) > grid.study.resources.memory_gib:
        console.print(
            f"resources.memory_gib is {grid.study.resources.memory_gib:g}, but a cell held {peak:.1f} GiB: raise it"
        )


def _epochs(log: Path) -> int:
    try:
        with log.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.reader(file)) - 1
    except OSError:
        return 0  # nothing is logged before the first epoch ends
