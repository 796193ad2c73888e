"""Orient, crop and pad volumes: every voxel that stays keeps its value and its place in the patient."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from multifocal.volumes.geometry import Geometry, Volume

_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}  # physical axis, sign


def axis_codes(geometry: Geometry) -> str:
    """Return the letters towards which the indices increase, as in "LPS"; of an oblique grid, the nearest.

    Args:
        geometry: a 2D or 3D grid.

    Returns:
        One letter for each array axis: L or R, P or A, S or I.

    Example:
        >>> axis_codes(Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (0.0, 1.0, -1.0, 0.0)))
        'AL'
    """
    names = {target: letter for letter, target in _LETTERS.items()}
    signs = np.where(geometry.matrix < 0, -1, 1)
    return "".join(names[row, int(signs[row, axis])] for axis, row in enumerate(_nearest_axes(geometry)))


def orient(volume: Volume, *, axes: str = "LPS") -> Volume:
    """Permute and flip axes so that increasing indices go towards `axes`, as nearly as permuting and flipping can.

    Values are exact, and every voxel keeps its physical point. Of a 2D image the letters L/R and P/A count. An image
    that already lies so comes back as it is.

    Args:
        volume: the image.
        axes: directions of the result's axes in order: L or R, P or A, S or I, each pair once.

    Returns:
        The reoriented image.

    Raises:
        ValueError: `axes` does not name each anatomical axis once.

    Example:
        >>> grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
        >>> turned = orient(Volume(np.array([[1, 2], [3, 4]]), grid))
        >>> turned.array.tolist(), turned.geometry.origin
        ([[3, 4], [1, 2]], (-1.0, 0.0))
    """
    geometry, n = volume.geometry, volume.geometry.ndim
    wanted = [_LETTERS.get(letter, (-1, 0)) for letter in axes]
    if sorted(row for row, _ in wanted) not in ([0, 1, 2], list(range(n))):
        raise ValueError(f"axes '{axes}' must name each of L/R, P/A and S/I once, as in 'LPS'")
    wanted = [(row, sign) for row, sign in wanted if row < n]
    nearest = _nearest_axes(geometry)
    order = [nearest.index(row) for row, _ in wanted]
    flips = [geometry.matrix[row, axis] * sign < 0 for (row, sign), axis in zip(wanted, order, strict=True)]
    if order == list(range(n)) and not any(flips):
        return volume
    matrix = geometry.matrix[:, order] * np.where(flips, -1.0, 1.0)
    corner = np.zeros(n)
    for axis, flip in zip(order, flips, strict=True):
        corner[axis] = geometry.size[axis] - 1 if flip else 0
    array = volume.array.transpose(order)[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    turned = Geometry(
        size=tuple(geometry.size[axis] for axis in order),
        spacing=tuple(geometry.spacing[axis] for axis in order),
        origin=tuple(geometry.affine[:-1] @ np.append(corner, 1.0)),
        direction=tuple(matrix.ravel()),
    )
    return Volume(np.ascontiguousarray(array), turned)


def crop(volume: Volume, *, lower: Sequence[int], upper: Sequence[int]) -> Volume:
    """Return the box lower <= index < upper as a volume of its own.

    Args:
        volume: the image.
        lower: first index of the box along each axis.
        upper: index after the last one along each axis.

    Returns:
        The voxels in the box, each at its old physical point.

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

    Args:
        volume: the image.
        lower: number of voxels to add before each axis; None adds none.
        upper: number of voxels to add after each axis; None adds none.
        size: number of voxels along each axis of the result; an odd one is added after.
        fill: value of the added voxels.

    Returns:
        The larger image, with the volume's dtype.

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

    Args:
        mask: array of bools or numbers.

    Returns:
        Two tuples of one index for each axis, or None.

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


def _nearest_axes(geometry: Geometry) -> tuple[int, ...]:
    # Axis by axis, the largest cosine can claim one anatomical axis twice near 45 degrees; the best permutation cannot.
    cosines = np.abs(geometry.matrix)
    axes = range(geometry.ndim)
    return max(permutations(axes), key=lambda rows: sum(cosines[row, axis] for axis, row in enumerate(rows)))


def _moved(geometry: Geometry, first: Sequence[int], size: Sequence[int]) -> Geometry:
    origin = geometry.affine[:-1] @ np.append(first, 1.0)
    return Geometry(tuple(size), geometry.spacing, tuple(origin), geometry.direction)
