"""What is odd about a scan or its mask: what lies outside of what a system was trained on, and what its mask says."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multifocal.cohorts import Case
from multifocal.cohorts.lesion_burden import brain_mask
from multifocal.errors import UserError
from multifocal.systems.ranges import SHAPE, Range, ScanMeasures, TrainingRanges, edge_share, measure_scan
from multifocal.systems.system import Prediction
from multifocal.systems.uncertainty import Uncertainty
from multifocal.volumes import Volume

LEAST_AGREEMENT = 0.5
UNIT = 5.0
OTHER_AGE = 1.5  # times the largest brain of training: from birth on a brain takes half a year to grow so much
_AXES = {"front_back": 1, "head_feet": 2}  # of an image in LPS; left and right look alike
_NUMBERS = {
    "spacing_least_mm": ("spacing", "mm"),
    "spacing_most_mm": ("spacing", "mm"),
    "size_least": ("size", "voxels"),
    "size_most": ("size", "voxels"),
    "view_least_mm": ("field of view", "mm"),
    "view_most_mm": ("field of view", "mm"),
    "brain_ml": ("brain volume", "ml"),
    "brain_left_right_mm": ("brain size", "mm"),
    "brain_front_back_mm": ("brain size", "mm"),
    "brain_head_feet_mm": ("brain size", "mm"),
    "brain_at_border": ("brain cut off", "share of the brain in the outermost voxels of the image"),
    "noise": ("noise", "share of the median"),
}


@dataclass(frozen=True)
class Flag:
    """One thing that was looked at, and whether it is odd.

    Args:
        name: what it is about: "spacing", "unit", "members disagree", ….
        number: which number was looked at.
        value: what it is; None where it cannot be told.
        low: the least value that is not odd; None where there is none, or it is not known.
        high: the greatest one.
        unit: of these three.
        source: where the threshold comes from.
        raised: whether it is odd; None where that is not known.

    Example:
        >>> Flag("spacing", "spacing_most_mm", 9.0, 1.0, 6.5, "mm", "32 training cases", raised=True).text
        'spacing: spacing_most_mm is 9 mm, above 6.5 (32 training cases)'
    """

    name: str
    number: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str
    raised: bool | None

    @property
    def text(self) -> str:
        """One line for people."""
        value = "not to be told" if self.value is None else f"{self.value:.4g} {self.unit}".strip()
        if self.raised is None:
            return f"{self.name}: {self.number} is {value}; whether that is odd is not known ({self.source})"
        if self.raised and self.value is not None and self.high is not None and self.value > self.high:
            where = f"above {self.high:.4g}"
        elif self.raised and self.low is not None:
            where = f"below {self.low:.4g}"
        else:
            ends = [f"{word} {end:.4g}" for word, end in (("from", self.low), ("to", self.high)) if end is not None]
            where = f"{'and not ' if self.raised else ''}{' '.join(ends)}"
        return f"{self.name}: {self.number} is {value}, {where} ({self.source})"


def check_age(first: Volume, ranges: Sequence[TrainingRanges | None], *, where: object) -> None:
    """Raise `UserError` where a brain is far larger than any that a model was trained on, as an adult's is.

    Args:
        first: the scan's first map, 0 outside the brain.
        ranges: of the training cases, one for each training, see `System.ranges`; None where they are not known.
        where: what the scan is called in the message.

    Raises:
        UserError: the brain has more than 1.5 times the volume of the largest in training.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((20, 20, 20), (6.0, 6.0, 6.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> head = Volume(np.ones((20, 20, 20)), grid)
        >>> neonates = Range(least=290, p5=300, median=400, p95=600, most=660)
        >>> check_age(head, [TrainingRanges(cases=9, maps=("adc",), numbers={"brain_ml": neonates})], where="scan")
        Traceback (most recent call last):
        multifocal.errors.UserError: scan: 1728 ml are not 0, and the largest brain that the model was trained on ...
    """
    known = [each.numbers["brain_ml"].most for each in ranges if each is not None and "brain_ml" in each.numbers]
    found = float(np.count_nonzero(brain_mask(first.array))) * first.geometry.voxel_ml
    if known and found > OTHER_AGE * max(known):
        raise UserError(
            f"{where}: {found:.0f} ml are not 0, and the largest brain that the model was trained on has "
            f"{max(known):.0f} ml: no brain of that age, or one in its skull; take a model of its age, or give --brain"
        )


def flags(
    case: Case,
    prediction: Prediction,
    *,
    uncertainty: Uncertainty | None = None,
    ranges: TrainingRanges | Sequence[TrainingRanges | None] | None = None,
) -> tuple[Flag, ...]:
    """Return what was looked at of a scan and its mask, and what of it is odd.

    Numbers of the scan are odd outside of the range of the training cases and a quarter of it on either side; a map's
    median that is five times below or above all of theirs is of another unit. A scan is turned round where their mean
    brain is more like it turned round than as it is. Left and right cannot be told apart. Where several trainings made
    the system, what is odd to any of them is odd.

    Args:
        case: the scan; of a 2D image nothing is looked at.
        prediction: what the system found in it.
        uncertainty: of that; None leaves out whether members disagree.
        ranges: `System.ranges`, or those of one training; None where they are not known, and then only the mask is
            judged.

    Returns:
        One for each thing that was looked at; `raised` says which are odd.

    Raises:
        UserError: a map cannot be read.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> from multifocal.systems import load_model
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=3, seed=0)
        >>> cohort = open_cohort(folder)
        >>> found = flags(cohort.cases[0], load_model("zadc-threshold").predict(cohort.cases[0]))
        >>> {flag.raised for flag in found if flag.name == "spacing"}
        {None}
    """
    if prediction.mask.geometry.ndim < 3:
        return ()
    scan = measure_scan(case)
    several = (ranges,) if ranges is None or isinstance(ranges, TrainingRanges) else tuple(ranges) or (None,)
    found = _by_any(several, lambda one: _scan_flags(case, scan, one))
    mask = prediction.mask.array != 0
    volume = float(np.count_nonzero(mask)) * prediction.mask.geometry.voxel_ml
    found.append(Flag("empty mask", "lesion_ml", volume, 0.0, None, "ml", "nothing is marked", raised=not mask.any()))
    found += _by_any(several, lambda one: [_edge_flag(case, mask, one)])
    if uncertainty is not None and uncertainty.agreement is not None:
        agreement = uncertainty.agreement
        source = "our choice; the mean Dice of the members"
        found.append(
            Flag(
                "members disagree",
                "agreement",
                agreement,
                LEAST_AGREEMENT,
                None,
                "",
                source,
                raised=agreement < LEAST_AGREEMENT,
            )
        )
    return tuple(found)


def _by_any(
    several: Sequence[TrainingRanges | None], of_one: Callable[[TrainingRanges | None], list[Flag]]
) -> list[Flag]:
    """Return what is odd to any of several trainings; what is odd to none is not known where one is not."""
    found: dict[tuple[str, str], Flag] = {}
    order = {True: 0, None: 1, False: 2}
    for place, ranges in enumerate(several, start=1):
        for flag in of_one(ranges):
            if len(several) > 1:
                flag = replace(flag, source=f"{flag.source}, training {place} of {len(several)}")
            before = found.setdefault((flag.name, flag.number), flag)
            if order[flag.raised] < order[before.raised]:
                found[flag.name, flag.number] = flag
    return list(found.values())


def _scan_flags(case: Case, scan: ScanMeasures, ranges: TrainingRanges | None) -> list[Flag]:
    found = [_number_flag(name, value, ranges) for name, value in scan.numbers.items() if name in _NUMBERS]
    for name in case.images:
        if f"{name}_p50" not in scan.numbers:
            continue  # on another grid than the first
        found += _map_flags(name, scan.numbers, ranges)
    return found + [_upright_flag(axis, scan, ranges) for axis in _AXES]


def _source(ranges: TrainingRanges | None) -> str:
    return "the run has no ranges.json" if ranges is None else f"range of {ranges.cases} training cases and a quarter"


def _within(name: str, number: str, value: float, range_: Range | None, *, unit: str, source: str) -> Flag:
    if math.isnan(value) or range_ is None:
        return Flag(name, number, None if math.isnan(value) else value, None, None, unit, source, raised=None)
    low, high = range_.limits
    slack = 1e-3 * max(abs(low), abs(high))  # spacings that are the same differ in the last digits
    return Flag(name, number, value, low, high, unit, source, raised=not low - slack <= value <= high + slack)


def _number_flag(number: str, value: float, ranges: TrainingRanges | None) -> Flag:
    name, unit = _NUMBERS[number]
    own = None if ranges is None else ranges.numbers.get(number)
    return _within(name, number, value, own, unit=unit, source=_source(ranges))


def _map_flags(map_: str, numbers: Mapping[str, float], ranges: TrainingRanges | None) -> list[Flag]:
    """Return the flags of the values of a map: of another unit, or outside of the training range."""
    names = [f"{map_}_p{percent}" for percent in (5, 50, 95)]
    own = {name: None if ranges is None else ranges.numbers.get(name) for name in names}
    found = [_within("intensity", name, numbers[name], own[name], unit="", source=_source(ranges)) for name in names]
    middle, value = own[names[1]], numbers[names[1]]
    if middle is not None and middle.least > 0 and not math.isnan(value):  # a map around 0 has no unit to go by
        low, high = middle.least / UNIT, middle.most * UNIT
        source = f"{UNIT:g} times beyond the medians of {ranges.cases} training cases" if ranges else ""
        found.append(Flag("unit", names[1], value, low, high, "", source, raised=not low <= value <= high))
    return found


def _upright_flag(axis: str, scan: ScanMeasures, ranges: TrainingRanges | None) -> Flag:
    theirs = np.array(() if ranges is None else ranges.shape)
    if theirs.size != SHAPE**3 or scan.shape is None:
        return Flag("turned round", axis, None, None, None, "", _source(ranges), raised=None)
    source = "correlation of the brain's shape with the mean of the training cases, less that of the shape turned round"
    if not (np.ptp(scan.shape) and np.ptp(theirs)):  # a brain that fills its box has no shape
        return Flag("turned round", axis, None, None, None, "", source, raised=None)
    turned = np.flip(scan.shape, _AXES[axis])
    as_is, other = (float(np.corrcoef(one.ravel(), theirs)[0, 1]) for one in (scan.shape, turned))
    ahead = as_is - other
    return Flag("turned round", axis, ahead, 0.0, None, "", source, raised=ahead < 0)


def _edge_flag(case: Case, mask: np.ndarray, ranges: TrainingRanges | None) -> Flag:
    brain = brain_mask(next(iter(case.images.values())).read().array)
    theirs = None if ranges is None else ranges.lesion_at_edge
    share = edge_share(mask, brain)
    return _within("lesion at the brain's edge", "lesion_at_edge", share, theirs, unit="share", source=_source(ranges))
