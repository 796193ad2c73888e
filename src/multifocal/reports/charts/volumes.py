"""Dice against the true volume."""

import math
from collections.abc import Mapping, Sequence

from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import RULE, arm_colour
from multifocal.reports.source import Arm
from multifocal.reports.words import number


def against_volume(arm: Arm, others: Sequence[Arm], *, pages: Mapping[str, str]) -> Chart | None:
    """Draw an arm's Dice by the true volume of each case that has a lesion, the other arms' faintly behind."""
    mine = _points(arm)
    if not mine:
        return None
    canvas = Canvas(f"volume-{arm.number}", f"Dice of {arm.name} against true volume", width=4.8, height=3.1)
    axes = canvas.axes
    for other in others:
        if other is not arm:
            points = _points(other)
            axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o", color=RULE, markersize=3)
    _, volumes, scores = zip(*mine, strict=True)
    says = [
        Mark(f"{case}: {number(volume, digits=2)} ml, Dice {number(dice)}", pages.get(case))
        for case, volume, dice in mine
    ]
    canvas.points(volumes, scores, says, colour=arm_colour(arm.number), size=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y")
    canvas.title(arm.name)
    axes.set_xlabel("true volume (ml)")
    axes.set_ylabel("Dice")
    return canvas.finish()


def _points(arm: Arm) -> list[tuple[str, float, float]]:
    rows = [(str(row["case"]), float(row["true_ml"]), float(row["dice"])) for row in arm.rows]
    return [row for row in rows if row[1] > 0 and math.isfinite(row[2])]
