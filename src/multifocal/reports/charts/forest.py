"""Differences between arms with their intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.metrics import METRICS
from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import INK, SOFT, arm_colour
from multifocal.reports.formatting import number, span, with_unit
from multifocal.reports.study_data import Arm


class Difference(NamedTuple):
    """An arm's value minus another's, over the cases that have both; None where there is no number."""

    arm: str
    mean: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    n: int


def differences(group: Mapping[str, Any], metric: str, *, to: str) -> Iterator[Difference]:
    """Yield how every other arm of a comparison's group differs from the arm `to`."""
    for pair in group["pairs"]:
        found = pair["metrics"].get(metric)
        if found is None or to not in (pair["first"], pair["second"]):
            continue
        if to == pair["second"]:
            yield Difference(pair["first"], found["mean"], found["low"], found["high"], found["p_holm"], found["n"])
        else:
            mean, low, high = (None if found[key] is None else -found[key] for key in ("mean", "high", "low"))
            yield Difference(pair["second"], mean, low, high, found["p_holm"], found["n"])


def forest(
    arms: Sequence[Arm], group: Mapping[str, Any], metric: str, *, to: str, words: Wording = VOLUMES
) -> Chart | None:
    """Draw the differences of all arms from the arm `to`, with 95 % intervals; None where there is none."""
    by_arm = {found.arm: found for found in differences(group, metric, to=to)}
    shown = [arm for arm in arms if arm.name in by_arm]
    if all(found.mean is None for found in by_arm.values()):
        return None
    meaning = METRICS[metric]
    heading = with_unit(meaning, words)
    canvas = Canvas(
        f"forest-{metric}", f"{heading}: difference of each arm from {to}", width=4.8, height=1.1 + 0.36 * len(shown)
    )
    axes = canvas.axes
    axes.axvline(0, color=SOFT, linewidth=1.0)
    for place, arm in enumerate(shown):
        found = by_arm[arm.name]
        colour = arm_colour(arm.number)
        says = canvas.mark(
            Mark(
                f"{arm.name} minus {to}: {number(found.mean, sign=True)} "
                f"({span(found.low, found.high, sign=True) or 'no interval'}), {found.n} cases, "
                f"p after Holm {number(found.p_holm)}"
            )
        )
        if found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        if found.mean is not None:
            axes.plot([found.mean], [place], "s", color=colour, markersize=6.5, markeredgewidth=0, gid=says)
    axes.set_yticks(range(len(shown)), [arm.name for arm in shown], color=INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    canvas.title(heading)
    axes.set_xlabel(
        "\N{LEFTWARDS ARROW} worse  |  better \N{RIGHTWARDS ARROW}"
        if meaning.best == "highest"
        else "\N{LEFTWARDS ARROW} better  |  worse \N{RIGHTWARDS ARROW}"
    )
    return canvas.finish()
