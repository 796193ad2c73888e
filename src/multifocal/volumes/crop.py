"""Cut volumes down and pad them; every voxel that stays keeps its value and its place."""

from collections.abc import Sequence

import numpy as np

from multifocal.volumes.geometry import Geometry
from multifocal.volumes.volume import Volume


def crop(volume: Volume, *, lower: Sequence[int], upper: Sequence[int]) -> Volume:
    """Return the box lower <= index < upper as a volume of its own.

    Raises:
        ValueError: the box is empty or reaches outside the volume.

    Example:
        >>> grid = Geometry((4, 4), (2.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> crop(Volume(np.zeros((4, 4)), grid), lower=(1, 0), upper=(3, 4)).geometry.origin
        (2.0, 0.0)
    """
    size = volume.geometry.size
    if not (len(lower) == len(upper) == len(size)) or any(
        not 0 <= a < b <= n for a, b, n in zip(lower, upper, size, strict=True)
    ):
        raise ValueError(f"box from {tuple(lower)} to {tuple(upper)} is empty or outside an image of size {size}")
    array = volume.array[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))]
    return Volume(np.ascontiguousarray(array), _moved(volume.geometry, lower, array.shape))


def pad(
    volume: Volume,
    *,
    lower: Sequence[int] | None = None,
    upper: Sequence[int] | None = None,
    size: Sequence[int] | None = None,
    fill: float = 0,
) -> Volume:
    """Add voxels of value `fill`: so many before (`lower`) and after (`upper`) each axis, or evenly up to `size`.

    Raises:
        ValueError: neither or both ways are given, a number is negative, `size` is smaller than the volume, or the
            volume's dtype cannot hold `fill`.

    Example:
        >>> grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> padded = pad(Volume(np.ones((2, 2)), grid), size=(4, 5))
        >>> padded.array.shape, padded.geometry.origin
        ((4, 5), (-1.0, -1.0))
    """
    old = volume.geometry.size
    if (size is None) == (lower is None and upper is None):
        raise ValueError("pad takes either size, or lower and upper")
    if size is not None:
        extra = [n - o for n, o in zip(size, old, strict=True)]
        lower, upper = [e // 2 for e in extra], [e - e // 2 for e in extra]
    before = [0] * len(old) if lower is None else lower
    after = [0] * len(old) if upper is None else upper
    if min(*before, *after) < 0:
        raise ValueError(f"cannot pad an image of size {old} by {tuple(before)} before and {tuple(after)} after")
    array = filled([b + o + a for b, o, a in zip(before, old, after, strict=True)], fill, volume.array.dtype)
    array[tuple(slice(b, b + o) for b, o in zip(before, old, strict=True))] = volume.array
    return Volume(array, _moved(volume.geometry, [-b for b in before], array.shape))


def bounding_box(mask: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return (lower, upper) of the smallest box around all non-zero voxels (upper exclusive), None if there are none.

    Example:
        >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]]))
        ((1, 1), (2, 3))
    """
    inside = np.asarray(mask)
    if inside.dtype != np.bool_:
        inside = inside != 0
    lower, upper = [0] * inside.ndim, [0] * inside.ndim
    # Outermost in memory first: what lies together is looked through at once, and dropped for good.
    order = sorted(range(inside.ndim), key=lambda axis: -abs(inside.strides[axis]))
    inside = inside.transpose(order)
    for axis in order:
        line = np.flatnonzero(inside.any(axis=tuple(range(1, inside.ndim))))
        if not len(line):
            return None
        lower[axis], upper[axis] = int(line[0]), int(line[-1]) + 1
        inside = np.asarray(inside[lower[axis] : upper[axis]].any(axis=0))
    return tuple(lower), tuple(upper)


def filled(size: Sequence[int], fill: float, dtype: np.dtype) -> np.ndarray:
    """Return an array of `fill`, or a `ValueError` where the dtype would turn it into another number."""
    with np.errstate(all="ignore"):
        value = np.asarray(fill).astype(dtype)
    if dtype.kind != "f" and not value == fill:
        raise ValueError(f"fill {fill} does not fit into {dtype}")
    return np.full(tuple(size), value, dtype)


def _moved(geometry: Geometry, first: Sequence[int], size: Sequence[int]) -> Geometry:
    origin = geometry.affine[:-1] @ np.append(first, 1.0)
    return Geometry(tuple(size), geometry.spacing, tuple(origin), geometry.direction)
