"""Charts in which every case is a point: a metric by arm, and Dice against the true volume."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import LogFormatter

from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.metrics import METRICS
from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import INK, RULE, arm_colour
from multifocal.reports.formatting import number, with_unit
from multifocal.reports.study_data import Arm

FEWEST = 5  # cases that make a box


def boxes(
    arms: Sequence[Arm], metric: str, *, group: str, pages: Mapping[str, str], words: Wording = VOLUMES
) -> Chart | None:
    """Draw the cases of a stratum (or of "all"); None where no arm has a value.

    Args:
        arms: those with an evaluation.
        metric: a name of `METRICS`.
        group: a stratum, or "all".
        pages: the page of each case, where it has one.
        words: what sizes and lengths are called.

    Returns:
        The chart.
    """
    columns = [_values(arm, metric, group) for arm in arms]
    if not any(columns):
        return None
    heading = with_unit(METRICS[metric], words)
    cases = len({case for column in columns for case, _ in column})
    canvas = Canvas(
        f"boxes-{metric}-{group}", f"{heading}, {group}: box plots by arm", width=4.8, height=0.9 + 0.36 * len(arms)
    )
    axes = canvas.axes
    for place, (arm, column) in enumerate(zip(arms, columns, strict=True)):
        values = [value for _, value in column]
        if not values:
            continue
        colour = arm_colour(arm.number)
        if len(values) >= FEWEST:
            _box(canvas, values, place, colour)
        says = [Mark(f"{case}: {arm.name}, {heading} {number(value)}", pages.get(case)) for case, value in column]
        canvas.points(values, place + _shifts(len(column)), says, colour=colour, size=4)
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms], color=INK)
    axes.set_ylim(len(arms) - 0.45, -0.55)
    if METRICS[metric].unit == "1" and METRICS[metric].best == "highest":
        axes.set_xlim(-0.03, 1.03)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    canvas.title(f"{'All cases' if group == 'all' else group} (n = {cases})")
    axes.set_xlabel(heading)
    return canvas.finish()


def against_volume(
    arm: Arm, others: Sequence[Arm], *, pages: Mapping[str, str], words: Wording = VOLUMES
) -> Chart | None:
    """Draw an arm's Dice by the true volume of each case that has a lesion, the other arms' faintly behind."""
    mine = _points(arm)
    if not mine:
        return None
    canvas = Canvas(f"volume-{arm.number}", f"Dice of {arm.name} against true {words.size}", width=4.8, height=3.1)
    axes = canvas.axes
    for other in others:
        if other is not arm:
            points = _points(other)
            axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o", color=RULE, markersize=3)
    _, volumes, scores = zip(*mine, strict=True)
    digits = 2 if words is VOLUMES else 0
    says = [
        Mark(f"{case}: {number(volume, digits=digits)} {words.unit}, Dice {number(dice)}", pages.get(case))
        for case, volume, dice in mine
    ]
    canvas.points(volumes, scores, says, colour=arm_colour(arm.number), size=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_PlainLog())
    axes.xaxis.set_minor_formatter(_PlainLog())
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y")
    canvas.title(arm.name)
    axes.set_xlabel(f"true {words.size} ({words.unit})")
    axes.set_ylabel("Dice")
    return canvas.finish()


class _PlainLog(LogFormatter):
    """Labels of those ticks that matplotlib chooses, as plain numbers: its own are formulas, which are not parsed."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _box(canvas: Canvas, values: Sequence[float], place: int, colour: str) -> None:
    box = canvas.axes.boxplot(
        values, positions=[place], orientation="horizontal", widths=0.58, showfliers=False, patch_artist=True
    )
    for part in (line for lines in box.values() for line in lines):
        part.set(color=colour, linewidth=1.1)
    box["boxes"][0].set(facecolor=colour, edgecolor=colour, alpha=0.2)
    box["medians"][0].set(color=INK, linewidth=2.0)


def _values(arm: Arm, metric: str, group: str) -> list[tuple[str, float]]:
    rows = [row for row in arm.rows if group in ("all", row["stratum"])]
    found = [(str(row["case"]), float(row.get(metric, math.nan))) for row in rows]
    return [(case, value) for case, value in found if math.isfinite(value)]


def _shifts(count: int) -> np.ndarray:
    """Spread points over a box's width so that neighbours in the file are apart; the same every time."""
    return (np.arange(count) * 0.618034 % 1 - 0.5) * 0.44


def _points(arm: Arm) -> list[tuple[str, float, float]]:
    rows = [(str(row["case"]), float(row["true_ml"]), float(row["dice"])) for row in arm.rows]
    return [row for row in rows if row[1] > 0 and math.isfinite(row[2])]
