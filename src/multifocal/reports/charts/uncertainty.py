"""Whether an arm that says how sure it is can be believed: what is unsure, is it wrong?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import DASHES, INK, RULE, SOFT, Dash, arm_colour
from multifocal.reports.formatting import number, span
from multifocal.reports.study_data import Arm


class Score(NamedTuple):
    """What cases or lesions are sorted by: its heading, and how its line is drawn."""

    heading: str
    colour: str
    dash: Dash
    width: float = 1.7


_CHANCE = Score("chance", SOFT, (0, (1, 2)), 1.2)
_TRUTH = Score("the truth (best)", SOFT, "solid", 1.0)
CASE_SCORES = {
    "expected_dice": Score("expected Dice", arm_colour(0), "solid"),
    "agreement": Score("agreement of members", arm_colour(1), DASHES[1]),
    "volume_range": Score("members' range of size", arm_colour(2), DASHES[2]),
    "small": Score("size alone", INK, DASHES[1]),
    "chance": _CHANCE,
    "truth": _TRUTH,
}
LESION_SCORES = {
    "lsu": Score("LSU", arm_colour(1), DASHES[1]),
    "probability": Score("mean probability", arm_colour(0), "solid"),
    "entropy": Score("mean entropy", arm_colour(2), DASHES[2]),
    "small": Score("size alone", INK, DASHES[1]),
    "chance": _CHANCE,
    "truth": _TRUTH,
}
_LEGEND: Mapping[str, Any] = {
    "loc": "outside lower left",
    "ncols": 2,
    "frameon": False,
    "fontsize": 11.5,
    "columnspacing": 1.2,
}


def risk_coverage_chart(arm: Arm) -> Chart | None:
    """Draw the risk, 1 - Dice, of the cases that are kept; None where none was judged."""
    cases = (arm.uncertainty or {}).get("case")
    if not cases:
        return None
    canvas = Canvas(f"risk-coverage-{arm.number}", f"Risk against coverage of {arm.name}", width=4.8, height=4.0)
    for name, score in CASE_SCORES.items():
        if name in cases:
            found = cases[name]
            area = f"AURC {_said(found['aurc'])}, AUGRC {_said(found['augrc'])}"
            _line(canvas, score, found["curve"]["coverage"], found["curve"]["risk"], f"{arm.name}: {area}")
    canvas.axes.set_ylim(bottom=0)
    return _finished(canvas, arm, "cases kept, the most uncertain left out", "mean risk, 1 \N{MINUS SIGN} Dice")


def retention_chart(arm: Arm) -> Chart | None:
    """Draw the share that is true of the lesions that are kept; None where there are none."""
    lesions = (arm.uncertainty or {}).get("lesion")
    if not lesions:
        return None
    canvas = Canvas(f"retention-{arm.number}", f"PPV of the lesions kept of {arm.name}", width=4.8, height=4.0)
    for name, score in LESION_SCORES.items():
        if name in lesions:
            found = lesions[name]
            area = f"area {_said(found['ppv_area'])}"
            _line(canvas, score, found["curve"]["retention"], found["curve"]["ppv"], f"{arm.name}: {area}")
    canvas.axes.set_ylim(top=1.02)
    return _finished(canvas, arm, "lesions kept, the most uncertain left out", "PPV of those kept")


def reliability_chart(arm: Arm) -> Chart | None:
    """Draw the share of lesion against the mean probability, with and without temperature; None without one."""
    voxels = (arm.uncertainty or {}).get("voxel")
    if not voxels:
        return None
    canvas = Canvas(f"reliability-{arm.number}", f"Reliability diagram of {arm.name}", width=4.8, height=4.2)
    canvas.axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.0)
    after = f"temperature {number(voxels['temperature'], digits=2)}" if voxels["after"] else ""
    styles = {"before": ("as it is", SOFT, DASHES[1]), "after": (after, arm_colour(arm.number), DASHES[0])}
    for when, (label, colour, dash) in styles.items():
        if not voxels[when]:
            continue
        bins = voxels[when]["diagram"]
        held = [place for place, many in enumerate(bins["voxels"]) if many]
        x, y = ([bins[name][place] for place in held] for name in ("probability", "lesion"))
        canvas.axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.4, marker="o", markersize=4.5, label=label)
        says = [
            Mark(
                f"{arm.name}, {label}: {bins['voxels'][place]:,} voxels, mean probability "
                f"{number(bins['probability'][place])}, {number(bins['lesion'][place])} of them lesion"
            )
            for place in held
        ]
        canvas.points(x, y, says, colour=colour, size=4.5)
    canvas.axes.set_xlim(-0.02, 1.02)
    canvas.axes.set_ylim(-0.02, 1.02)
    canvas.axes.grid(axis="x")
    return _finished(canvas, arm, "mean probability of a bin's voxels", "share of them that is lesion")


def _line(canvas: Canvas, score: Score, x: list[float], y: list[float], says: str) -> None:
    canvas.axes.plot(
        x,
        y,
        color=score.colour,
        linestyle=score.dash,
        linewidth=score.width,
        marker="o" if len(x) == 1 else "",
        label=score.heading,
        gid=canvas.mark(Mark(f"{says} by {score.heading}")),
    )


def _said(found: Mapping[str, float | None]) -> str:
    interval = span(found["low"], found["high"])
    return f"{number(found['value'])} ({interval})" if interval else number(found["value"])


def _finished(canvas: Canvas, arm: Arm, across: str, up: str) -> Chart:
    canvas.axes.grid(axis="y")
    canvas.axes.set_xlabel(across)
    canvas.axes.set_ylabel(up)
    canvas.title(arm.name)
    canvas.figure.legend(**_LEGEND)
    return canvas.finish()
