"""Detection by the size of a lesion."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from multifocal.evaluation import VOLUME_BINS
from multifocal.evaluation.summary import summarize_bins
from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.reports.charts.canvas import Canvas, Chart, Mark
from multifocal.reports.charts.palette import MARKS, SOFT, arm_colour
from multifocal.reports.formatting import number
from multifocal.reports.study_data import Arm

MEASURES = {"sensitivity": "sensitivity", "precision": "precision", "f1": "F1", "dice": "Dice"}
SMALL = VOLUME_BINS[0]


class Detection(NamedTuple):
    """Lesions of one size and arm: true ones, how many are found, false ones, and the mean Dice of the true ones.

    Measures of no lesions are NaN.
    """

    true: int = 0
    found: int = 0
    false: int = 0
    dice: float = math.nan

    @property
    def missed(self) -> int:
        """True lesions that are not found."""
        return self.true - self.found

    @property
    def sensitivity(self) -> float:
        """Found of the true lesions."""
        return _share(self.found, self.true)

    @property
    def precision(self) -> float:
        """Found of found and false lesions."""
        return _share(self.found, self.found + self.false)

    @property
    def f1(self) -> float:
        """Twice the found ones over true, found and false."""
        return _share(2 * self.found, self.true + self.found + self.false)


def by_bin(arms: Sequence[Arm]) -> dict[str, dict[str, Detection]]:
    """Return the counts {bin: {arm}}, smallest lesions first; only bins that hold a lesion of any arm."""
    counted = {arm.name: summarize_bins(arm.lesions) for arm in arms}
    return {
        name: {arm: _detection(bins.get(name)) for arm, bins in counted.items()}
        for name in VOLUME_BINS
        if any(name in bins for bins in counted.values())
    }


def size_bars(
    arms: Sequence[Arm], bins: Mapping[str, Mapping[str, Detection]], measure: str, *, words: Wording = VOLUMES
) -> Chart:
    """Draw one measure: a group of bars a bin, a bar an arm, with the number of true lesions below."""
    heading = MEASURES[measure]
    canvas = Canvas(
        f"sizes-{measure}",
        f"{heading} of lesions by their {words.size} in {words.unit}, by arm",
        width=max(7.0, 0.9 + len(bins) * max(0.86, 0.25 + 0.1 * len(arms))),
        height=3.6,
    )
    axes, wide = canvas.axes, 0.84 / len(arms)
    for place, (name, counts) in enumerate(bins.items()):
        for nth, arm in enumerate(arms):
            count = counts[arm.name]
            value = getattr(count, measure)
            if math.isnan(value):
                continue
            says = canvas.mark(
                Mark(
                    f"{words.bin(name)} {words.unit}, {arm.name}: {heading} {number(value)}; "
                    f"{count.true} true, {count.found} found, {count.false} false"
                )
            )
            # A bar of nothing shows that there is a number, and that it is 0.
            left, height = place - 0.42 + (nth + 0.5) * wide, max(value, 0.008)
            axes.bar(left, height, wide * 0.88, color=arm_colour(arm.number), gid=says)
    true = [max(count.true for count in counts.values()) for counts in bins.values()]
    labels = [f"{shown(words.bin(name))}\nn = {n}" for name, n in zip(bins, true, strict=True)]
    axes.set_xticks(range(len(bins)), labels, linespacing=1.4)
    axes.set_xlim(-0.6, len(bins) - 0.4)
    axes.set_ylim(0, 1.02)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_ylabel(heading)
    axes.set_xlabel(f"{words.size} of the lesion in {words.unit}; n, true lesions of that size")
    return canvas.finish()


def small_bars(arms: Sequence[Arm], *, words: Wording = VOLUMES) -> Chart | None:
    """Draw how many of the smallest lesions are found, missed and false, a row an arm; None where there are none."""
    counted = by_bin(arms).get(SMALL)
    if counted is None:
        return None
    most = max(count.true + count.false for count in counted.values())
    canvas = Canvas(
        "small-lesions",
        f"Lesions of {words.bin(SMALL)} {words.unit} by arm: found, missed and false",
        width=6.4,
        height=0.5 + 0.42 * len(counted),
    )
    axes = canvas.axes
    for place, (name, count) in enumerate(counted.items()):
        start = 0.0
        for kind in ("found", "missed", "false"):
            many = getattr(count, kind)
            says = canvas.mark(Mark(f"{name}: {many} {kind}; {count.true} true small lesions"))
            axes.barh(place, many, 0.66, left=start, color=MARKS[kind], gid=says)
            start += many
        text = f"{count.found} found, {count.missed} missed, {count.false} false"
        axes.annotate(text, (start, place), (7, 0), textcoords="offset points", va="center", color=SOFT)
    axes.set_yticks(range(len(counted)), list(counted))
    axes.set_ylim(len(counted) - 0.45, -0.55)
    axes.set_xlim(0, 1.62 * most)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([])
    return canvas.finish()


def shown(name: str) -> str:
    """Return a bin as it is printed.

    Args:
        name: of a bin, as the tables have it.

    Returns:
        The text.

    Example:
        >>> shown("0.05-0.10"), shown(">=1")
        ('0.05–0.10', '≥1')
    """
    return name.replace("-", "\N{EN DASH}").replace(">=", "\N{GREATER-THAN OR EQUAL TO}")


def _detection(counts: Mapping[str, Any] | None) -> Detection:
    if counts is None:
        return Detection()
    dice = math.nan if counts["dice"] is None else counts["dice"]
    return Detection(counts["true"], counts["found"], counts["false"], dice)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
