"""From a case's maps, on the network's grid, to its input channels."""

import math
import threading
from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk  # noqa: N813

from multifocal.errors import UserError
from multifocal.pipeline.lesion_frequency import read_frequency
from multifocal.pipeline.settings import (
    Channel,
    Coordinates,
    LesionFrequency,
    Mirror,
    MirrorDifference,
    Reciprocal,
)
from multifocal.volumes import Volume, bounding_box
from multifocal.volumes.resample import to_image

SHRINK, FEWEST = 4, 16  # N4 fits its field to every 4th voxel, but keeps 16 along an axis that has them
LEVELS, SUPPORT = 4, 4  # it refines its lattice at most so often, and to no less than 4 of these voxels an element
_one_thread = threading.Lock()


def make_channel(values: np.ndarray, inside: np.ndarray | None, settings: Channel, *, where: str) -> np.ndarray:
    """Return one float32 channel from a map, or what was derived from it, as the recipe says.

    Args:
        values: the map on the prepared grid, `(*spatial)`.
        inside: brain mask on the same grid, or None when the recipe names no brain.
        settings: what to do.
        where: the map's file, for messages.

    Returns:
        float32 `(*spatial)`.

    Raises:
        UserError: the map is constant and cannot be normalised.

    Example:
        >>> prior = Channel(map="zadc", below=-2)
        >>> make_channel(np.array([-3.0, -2.0, 1.0]), None, prior, where="zadc.mha").tolist()
        [1.0, 0.0, 0.0]
    """
    values = values.astype(np.float32)
    if settings.below is not None:
        prior = values < settings.below
        return (prior if inside is None else prior & inside).astype(np.float32)
    if settings.clip is not None:
        values = np.clip(values, *settings.clip)
    counted = inside if settings.over == "brain" else None
    if settings.percentiles is not None:
        sample = values if counted is None else values[counted]
        values = np.clip(values, *np.percentile(sample.astype(np.float64), settings.percentiles))
    if isinstance(settings.range, str):
        values = _stretched(values, counted, by_slice=settings.range == "slice", where=where)
    elif settings.range is not None:
        low, high = settings.range
        values = (values - low) / (high - low)
    if settings.standardize is not None:
        mean, std = settings.standardize
        values = (values - mean) / std
    if settings.zscore is not None:
        within = inside if settings.zscore == "brain" else None
        values = _zscore(values, within, where=where)
    if settings.background is not None and inside is not None:  # a recipe that sets it names a brain
        values = np.where(inside, values, settings.background)
    return np.ascontiguousarray(values, np.float32)


def derive(
    settings: Channel,
    maps: Mapping[str, np.ndarray],
    inside: np.ndarray,
    *,
    has_brain: bool,
    left_right: int,
    frequency: np.ndarray | None,
    where: str,
) -> np.ndarray:
    """Return the values of a channel before they are clipped, scaled and normalised.

    Args:
        settings: what to derive.
        maps: by name, on the prepared grid.
        inside: brain mask on the same grid, all of it where the recipe names no brain.
        has_brain: whether it does.
        left_right: the axis of left and right.
        frequency: of lesions, in the cells of the brain's box; None where there is none.
        where: the case's name, for messages.

    Returns:
        `(*spatial)`.

    Raises:
        UserError: the image has no such axis, or there is no lesion frequency.

    Example:
        >>> ramp, brain = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([[False], [True], [True], [True]])
        >>> difference = Channel.model_validate({"map": "adc", "derive": "mirror-difference"})
        >>> options = {"has_brain": True, "left_right": 0, "frequency": None, "where": "S1"}
        >>> derive(difference, {"adc": ramp}, brain, **options).ravel().tolist()
        [0.0, -4.0, 0.0, 4.0]
    """
    how = settings.derive
    if isinstance(how, Coordinates):
        if how.axis >= inside.ndim:
            raise UserError(
                f"case {where}: is {inside.ndim}D and has no axis {how.axis}; leave out its channel of coordinates"
            )
        return _coordinates(inside, how.axis)
    if isinstance(how, LesionFrequency):
        if frequency is None:
            raise UserError(
                f"case {where}: the channel lesion-frequency is made from the training cases; "
                "train first, and predict with the run"
            )
        return read_frequency(frequency, inside, smooth=how.smooth)
    values = maps[settings.map or ""]
    if isinstance(how, Reciprocal):
        return _reciprocal(values, maps[how.by], inside, how)
    if isinstance(how, Mirror | MirrorDifference):
        twice = sagittal_plane(inside, left_right) if has_brain else inside.shape[left_right] - 1
        other = _mirrored(values, left_right, twice)
        if isinstance(how, Mirror):
            return other
        return np.where(inside & _mirrored(inside, left_right, twice), values - other, 0)
    return values


def sagittal_plane(inside: np.ndarray, axis: int) -> int:
    """Return where the mid-sagittal plane is: where the brain and its mirror image share most voxels.

    That is the s with the largest sum over x of B(x) B(s - x); where several are, the one nearest to the middle of the
    brain's box.

    Args:
        inside: bool `(*spatial)`, not empty.
        axis: of left and right.

    Returns:
        Twice its place in voxels along the axis, for it may lie between two voxels: x goes to s - x.

    Example:
        >>> sagittal_plane(np.array([0, 1, 1, 1, 1, 0, 0], bool), 0) / 2
        2.5
    """
    lines = np.moveaxis(inside, axis, 0).reshape(inside.shape[axis], -1).astype(np.float32)
    shared = np.rint(lines @ lines.T).astype(np.int64)
    n = len(lines)
    overlap = np.bincount(np.add.outer(np.arange(n), np.arange(n)).ravel(), weights=shared.ravel())
    held = np.flatnonzero(lines.any(axis=1))
    best = np.flatnonzero(overlap == overlap.max())
    return int(best[np.abs(best - (held[0] + held[-1])).argmin()])


def correct_bias(volume: Volume, brain: np.ndarray | None, *, where: str) -> Volume:
    """Divide an image by its bias field, which N4 finds in the brain's voxels above 0; all others stay as they are.

    N4 sees every 4th voxel along an axis (16 of one of less than 64), and has SimpleITK's settings, but for less levels
    where these voxels are few, for then it would fit noise. It runs on one thread: the result depends on the image
    alone.

    Args:
        volume: the image.
        brain: bool, on its grid; None is everywhere.
        where: its file, for messages.

    Returns:
        float32, on the same grid.

    Raises:
        UserError: too few of its voxels are above 0.

    Source:
        Tustison et al., IEEE TMI 29:1310 (2010), as in SimpleITK.

    Example:
        >>> correct_bias(read("flair.nii.gz"), None, where="flair.nii.gz")  # doctest: +SKIP
    """
    marked = volume.array > 0
    if brain is not None:
        marked &= brain
    shrink = [max(1, min(SHRINK, n // FEWEST)) for n in volume.geometry.size]
    least = min(n // step for n, step in zip(volume.geometry.size, shrink, strict=True))
    image = to_image(Volume(volume.array.astype(np.float32), volume.geometry))
    mask = to_image(Volume(marked, volume.geometry))
    small, small_mask = (sitk.Shrink(one, shrink) for one in (image, mask))
    if least < SUPPORT or np.count_nonzero(sitk.GetArrayViewFromImage(small_mask)) < SUPPORT**volume.geometry.ndim:
        raise UserError(f"{where}: has too few voxels above 0 to find a bias field in; leave n4 out")
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * min(LEVELS, 1 + int(math.log2(least / SUPPORT))))
    with _one_thread:  # the filters within N4 go by the number of the whole process
        threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            n4.SetNumberOfThreads(1)
            n4.Execute(small, small_mask)
            field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    corrected = np.where(marked, volume.array / np.exp(np.where(marked, field, 0)), volume.array)
    return Volume(np.ascontiguousarray(corrected, np.float32), volume.geometry)


def _coordinates(inside: np.ndarray, axis: int) -> np.ndarray:
    lower, upper = bounding_box(inside) or ((0,) * inside.ndim, inside.shape)
    places = (np.arange(inside.shape[axis]) - lower[axis] + 0.5) / (upper[axis] - lower[axis])
    line = (2 * places - 1).reshape(-1, *[1] * (inside.ndim - axis - 1))
    return np.broadcast_to(line, inside.shape)


def _reciprocal(values: np.ndarray, by: np.ndarray, inside: np.ndarray, settings: Reciprocal) -> np.ndarray:
    by = by.astype(np.float64)
    if isinstance(settings.minimum, str):
        held = np.where(inside, by, np.inf)
        sliced = settings.minimum == "slice" and inside.ndim == 3
        least = held.min(axis=(0, 1), keepdims=True) if sliced else held.min(keepdims=True)
        least = np.where(np.isfinite(least), least, 0)  # a slice without brain has no least value, and needs none
    else:
        least = np.array(settings.minimum)
    return np.where(inside, values / (1 + np.abs(least) + np.maximum(by, least)) ** settings.power, 0)


def _mirrored(values: np.ndarray, axis: int, twice: int) -> np.ndarray:
    index = twice - np.arange(values.shape[axis])
    known = (index >= 0) & (index < len(index))
    known = known.reshape(-1, *[1] * (values.ndim - axis - 1))
    return np.where(known, values.take(np.clip(index, 0, len(index) - 1), axis), np.zeros((), values.dtype))


def _stretched(values: np.ndarray, inside: np.ndarray | None, *, by_slice: bool, where: str) -> np.ndarray:
    """Return `(x - least) / (greatest - least)` of the image, or of each slice along the last axis of a volume."""
    axes = (0, 1) if by_slice and values.ndim == 3 else None
    kept = values if inside is None else np.where(inside, values, np.nan)
    some = np.ones((), bool) if inside is None else inside.any(axis=axes, keepdims=True)
    # A slice without brain has neither a least nor a greatest value.
    low = np.where(some, np.fmin.reduce(kept, axis=axes, keepdims=True), 0)
    high = np.where(some, np.fmax.reduce(kept, axis=axes, keepdims=True), 0)
    spread = high - low
    if not spread.any():
        raise _constant(where, float(low.flat[0]))
    return np.divide(values - low, spread, out=np.zeros_like(values), where=np.broadcast_to(spread > 0, values.shape))


def _zscore(values: np.ndarray, inside: np.ndarray | None, *, where: str) -> np.ndarray:
    """Return `(x - mean) / std` over the image, or over the brain with 0 outside."""
    sample = (values if inside is None else values[inside]).astype(np.float64)
    mean, std = sample.mean(), sample.std()
    # The spread of a constant image is rounding noise, which must not be blown up to unit variance.
    if std <= 1e-6 * abs(mean):
        raise _constant(where, mean)
    scaled = ((values - mean) / std).astype(np.float32)
    return scaled if inside is None else np.where(inside, scaled, np.float32(0))


def _constant(where: str, value: float) -> UserError:
    return UserError(f"{where}: is constant ({value:g}) and cannot be normalised; check that the file is the right one")
