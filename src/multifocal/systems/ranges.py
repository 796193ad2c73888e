"""What the scans were that a system was trained on, in numbers that a new scan is compared with."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from scipy import ndimage

from multifocal.cohorts import Case, Cohort
from multifocal.cohorts.lesion_burden import brain_mask, counted
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.files import read_json, write_json
from multifocal.volumes import Volume, bounding_box, orient

RANGES = "ranges.json"
SHAPE = 8  # cells along each axis of the brain's box
MARGIN = 0.25  # of the training cases' range, on either side: one more case is often a little outside of it


class Range(Config):
    """What one number was in the cases that a system was trained on.

    Args:
        least: its least value.
        p5: its 5th percentile.
        median: its median.
        p95: its 95th percentile.
        most: its greatest value.

    Example:
        >>> Range(least=0.0, p5=0.1, median=1.0, p95=1.9, most=2.0).limits
        (-0.5, 2.5)
    """

    least: float
    p5: float
    median: float
    p95: float
    most: float

    @property
    def limits(self) -> tuple[float, float]:
        """Both ends of what is not flagged: a quarter of the range beyond it on either side."""
        beyond = MARGIN * (self.most - self.least)
        return self.least - beyond, self.most + beyond


class TrainingRanges(Config):
    """What the scans were that a system was trained on; `ranges.json` in its run folder.

    Args:
        cases: how many there were.
        maps: their maps, in order; the first is 0 outside the brain.
        numbers: by name, see `measure_scan`.
        shape: the mean over the cases of the brain's shape, see `measure_scan`, flat.
        lesion_at_edge: the share of the lesion's voxels that border on what is not brain; None without any lesion.

    Example:
        >>> TrainingRanges(cases=0, maps=("adc",), numbers={}).lesion_at_edge is None
        True
    """

    cases: int = Field(ge=0)
    maps: tuple[str, ...]
    numbers: dict[str, Range]
    shape: tuple[float, ...] = ()
    lesion_at_edge: Range | None = None


@dataclass(frozen=True, eq=False)
class ScanMeasures:
    """What a scan is in numbers.

    Args:
        numbers: by name; NaN where there is no brain.
        shape: `(8, 8, 8)` what share of each cell of the brain's box is brain, in LPS; None without a brain.

    Example:
        >>> ScanMeasures({"brain_ml": 400.0}, None).numbers["brain_ml"]
        400.0
    """

    numbers: dict[str, float]
    shape: np.ndarray | None


def measure_scan(case: Case) -> ScanMeasures:
    """Return the numbers of a scan that are compared with those of the training cases.

    Spacing, size and field of view (least and greatest of the axes); volume and extent of the brain, where the first
    map is not 0; the share of it in the outermost voxels of the image; the 5th, 50th and 95th percentile of each map in
    it; and the noise of the first map: the median of `|x_-1 - 2 x_0 + x_1|` along the finest axis, over `√6` and
    0.6745, as a share of the map's median.

    Args:
        case: a 3D scan; a map of another size than the first is left out.

    Returns:
        Numbers, and the brain's shape.

    Raises:
        UserError: a map cannot be read.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=1, seed=0)
        >>> found = measure_scan(open_cohort(folder).cases[0])
        >>> found.numbers["spacing_least_mm"] > 0, found.numbers["brain_at_border"] < 0.01
        (True, True)
    """
    maps = {name: image.read() for name, image in case.images.items()}
    first = next(iter(maps.values()))
    grid, brain = first.geometry, brain_mask(first.array)
    view = np.multiply(grid.size, grid.spacing)
    numbers = {
        "spacing_least_mm": min(grid.spacing),
        "spacing_most_mm": max(grid.spacing),
        "size_least": float(min(grid.size)),
        "size_most": float(max(grid.size)),
        "view_least_mm": float(view.min()),
        "view_most_mm": float(view.max()),
        "brain_ml": float(np.count_nonzero(brain)) * grid.voxel_ml,
    }
    shape = None
    box = bounding_box(brain)
    extents = dict.fromkeys(("brain_left_right_mm", "brain_front_back_mm", "brain_head_feet_mm"), math.nan)
    at_border = noise = math.nan
    if box is not None:
        inner = np.zeros(brain.shape, bool)
        inner[(slice(1, -1),) * brain.ndim] = True
        at_border = float(np.count_nonzero(brain & ~inner) / np.count_nonzero(brain))
        noise = _noise(first, brain)
        inside = orient(Volume(brain, grid))
        lower, upper = np.array(bounding_box(inside.array))
        extents = dict(zip(extents, ((upper - lower) * inside.geometry.spacing).tolist(), strict=True))
        shape = _shape(inside.array[tuple(map(slice, lower, upper))])
    numbers |= {**extents, "brain_at_border": at_border, "noise": noise}
    for name, volume in maps.items():
        if volume.array.shape != first.array.shape:
            continue
        values = volume.array[brain & np.isfinite(volume.array)]
        for percent in (5, 50, 95):
            numbers[f"{name}_p{percent}"] = float(np.percentile(values, percent)) if values.size else math.nan
    return ScanMeasures(numbers, shape)


def training_ranges(cohort: Cohort) -> TrainingRanges | None:
    """Return what the scans of some cases are, for later ones to be compared with.

    Args:
        cohort: the training cases; of those with labels, where their lesions lie.

    Returns:
        The ranges; None for images without a brain or of two dimensions, of which nothing is known here.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=2, seed=0)
        >>> found = training_ranges(open_cohort(folder))
        >>> found.cases, found.maps, found.numbers["adc_p50"].least > 500
        (2, ('adc', 'zadc'), True)
    """
    if cohort.label_kind == "instances" or any(
        next(iter(case.images.values())).geometry().ndim != 3 for case in cohort
    ):
        return None
    found = [measure_scan(case) for case in cohort]
    numbers = {name: _range([one.numbers[name] for one in found]) for name in (found[0].numbers if found else ())}
    shapes = [one.shape.ravel() for one in found if one.shape is not None]
    edges = [edge_share(*_lesion(case, cohort)) for case in cohort if case.label is not None]
    return TrainingRanges(
        cases=len(found),
        maps=cohort.maps,
        numbers={name: one for name, one in numbers.items() if one is not None},
        shape=tuple(np.mean(shapes, axis=0).round(3).tolist()) if shapes else (),
        lesion_at_edge=_range(edges),
    )


def write_ranges(folder: str | Path, ranges: TrainingRanges) -> None:
    """Write the ranges into a run folder.

    Args:
        folder: of the run.
        ranges: what `training_ranges` returns.

    Raises:
        UserError: the file cannot be written.
    """
    write_json(Path(folder) / RANGES, ranges.model_dump(mode="json"))


def read_ranges(folder: str | Path) -> TrainingRanges | None:
    """Return the ranges of a run.

    Args:
        folder: of the run.

    Returns:
        Them; None for a run of before there were any.

    Raises:
        UserError: the file is not what training writes.

    Example:
        >>> read_ranges("runs/none-yet") is None
        True
    """
    file = Path(folder) / RANGES
    if not file.exists():
        return None
    try:
        return TrainingRanges.model_validate(read_json(file), strict=False)
    except ValidationError as error:
        raise UserError(f"{file}: is not what `multifocal train` writes; remove it, and flags are not known") from error


def distinct(found: Iterable[TrainingRanges | None]) -> tuple[TrainingRanges | None, ...]:
    """Return the ranges of several trainings, those of the same scans once.

    Args:
        found: of each; None where they are not known.

    Returns:
        Them, in their order.

    Example:
        >>> distinct([None, None, TrainingRanges(cases=3, maps=("adc",), numbers={})])[0] is None
        True
    """
    kept: list[TrainingRanges | None] = []
    for one in found:
        if one not in kept:
            kept.append(one)
    return tuple(kept)


def edge_share(lesion: np.ndarray, brain: np.ndarray) -> float:
    """Return the share of a lesion's voxels that lie at the brain's edge: one of the six neighbours is not brain.

    Args:
        lesion: bool `(*spatial)`.
        brain: bool, of the same shape.

    Returns:
        From 0 to 1; NaN without a lesion.

    Example:
        >>> brain = np.ones((1, 3), bool)
        >>> edge_share(np.array([[0, 1, 0]], bool), brain)
        1.0
    """
    total = np.count_nonzero(lesion)
    return float(np.count_nonzero(lesion & ~ndimage.binary_erosion(brain)) / total) if total else math.nan


def _lesion(case: Case, cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    label = case.label.read().array  # type: ignore[union-attr]  # asked for cases with a label alone
    return counted(label, brain_mask(next(iter(case.images.values())).read().array), labels=cohort.labels)


def _noise(volume: Volume, brain: np.ndarray) -> float:
    axis = int(np.argmin(volume.geometry.spacing))
    along, inside = np.moveaxis(volume.array, axis, 0).astype(np.float64), np.moveaxis(brain, axis, 0)
    triple = inside[:-2] & inside[1:-1] & inside[2:]
    bend = np.abs(along[:-2] - 2 * along[1:-1] + along[2:])[triple]
    middle = float(np.median(volume.array[brain]))
    return float(np.median(bend) / 0.6745 / math.sqrt(6) / abs(middle)) if bend.size and middle else math.nan


def _shape(inside: np.ndarray) -> np.ndarray:
    """Return how much of each cell of a box is brain, by interpolation in what is smoothed to the cells' size."""
    cells = np.array(inside.shape) / SHAPE
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), np.maximum(cells / 2 - 0.3, 0.0), mode="nearest")
    places = [(np.arange(SHAPE) + 0.5) * cell - 0.5 for cell in cells]
    return np.asarray(ndimage.map_coordinates(smooth, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"))


def _range(values: list[float]) -> Range | None:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    names = ("least", "p5", "median", "p95", "most")
    found: dict[str, Any] = dict(zip(names, np.percentile(known, [0, 5, 50, 95, 100]).tolist(), strict=True))
    return Range(**found)
