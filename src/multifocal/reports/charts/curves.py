"""Training, epoch by epoch."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from matplotlib.ticker import MaxNLocator

from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import DASHES, INK, SOFT, arm_colour, arm_dash
from multifocal.reports.formatting import number
from multifocal.reports.study_data import Arm, CellRecord

Line = dict[int, float]


def line(cell: CellRecord, column: str) -> Line:
    """Return one column of a cell's log by epoch, without the epochs that have no number."""
    values = {int(row["epoch"]): row.get(column, math.nan) for row in cell.log if math.isfinite(row["epoch"])}
    return {epoch: value for epoch, value in values.items() if math.isfinite(value)}


def mean(lines: Iterable[Line]) -> Line:
    """Return the mean over cells at every epoch that any of them reached."""
    values: dict[int, list[float]] = defaultdict(list)
    for one in lines:
        for epoch, value in one.items():
            values[epoch].append(value)
    return {epoch: sum(found) / len(found) for epoch, found in sorted(values.items())}


def validation_curves(arms: Sequence[Arm], cells: Sequence[CellRecord], *, column: str = "val/dice") -> Chart | None:
    """Draw validation by epoch, the mean over an arm's cells; None where no cell has any."""
    found = {arm.name: mean(line(cell, column) for cell in cells if cell.arm == arm.name) for arm in arms}
    if not any(found.values()):
        return None
    canvas = Canvas("validation", f"{column} by epoch, mean over the cells of each arm", width=6.4, height=3.6)
    axes = canvas.axes
    for arm in arms:
        curve = found[arm.name]
        if not curve:
            continue
        end = list(curve.items())[-1]
        says = canvas.mark(
            Mark(f"{arm.name}: {number(end[1])} after epoch {end[0]}, best {number(max(curve.values()))}")
        )
        axes.plot(
            list(curve),
            list(curve.values()),
            marker=_marker(curve),
            color=arm_colour(arm.number),
            linestyle=arm_dash(arm.number),
            linewidth=1.7,
            gid=says,
        )
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_ylabel("validation Dice")
    return canvas.finish()


def loss_curves(arm: Arm, cells: Sequence[CellRecord]) -> Chart | None:
    """Draw an arm's training loss and each of its terms by epoch; faint lines are single cells."""
    own = [cell for cell in cells if cell.arm == arm.name]
    columns = dict.fromkeys(key for cell in own for row in cell.log[:1] for key in row if key.startswith("train/"))
    names = sorted(columns, key=lambda column: column != "train/loss")
    curves = {name: mean(line(cell, name) for cell in own) for name in names}
    curves = {name: curve for name, curve in curves.items() if curve}
    if not curves:
        return None
    if len(curves) == 2:  # a loss of one term is that term
        curves.pop("train/loss")
    canvas = Canvas(f"loss-{arm.number}", f"Training loss of {arm.name} and its terms by epoch", width=4.8, height=3.0)
    axes = canvas.axes
    ends: list[tuple[str, tuple[int, float], str]] = []
    for nth, (name, curve) in enumerate(curves.items()):
        term, total = name.removeprefix("train/"), name == "train/loss"
        colour = INK if total else arm_colour(arm.number)
        dash = DASHES[0 if total else nth % len(DASHES)]
        for cell in own if len(own) > 1 else ():
            single = line(cell, name)
            at = list(single), list(single.values())
            axes.plot(*at, marker=_marker(single), markersize=4, linewidth=0.8, alpha=0.25, color=colour)
        end = list(curve.items())[-1]
        says = canvas.mark(Mark(f"{arm.name}, {term}: {number(end[1])} after epoch {end[0]}"))
        at = list(curve), list(curve.values())
        axes.plot(*at, marker=_marker(curve), color=colour, linestyle=dash, linewidth=1.6, gid=says)
        ends.append((term, end, colour))
    _name_ends(canvas, ends)
    axes.grid(axis="y")
    canvas.title(arm.name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_ylabel("loss", color=SOFT)
    return canvas.finish()


def _marker(curve: Line) -> str:
    """Return how the points of a curve are marked: one alone makes no line."""
    return "o" if len(curve) == 1 else ""


def _name_ends(canvas: Canvas, ends: Sequence[tuple[str, tuple[int, float], str]]) -> None:
    """Write each line's name to the right of its end, apart from each other."""
    low, high = canvas.axes.get_ylim()
    last = -math.inf
    for name, (epoch, value), colour in sorted(ends, key=lambda end: end[1][1]):
        last = max(value, last + 0.1 * (high - low))
        canvas.axes.annotate(
            name, (epoch, last), (5, 0), textcoords="offset points", color=colour, va="center", annotation_clip=False
        )
