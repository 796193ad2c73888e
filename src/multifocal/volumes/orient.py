"""Turn volumes to a canonical orientation without touching a voxel value."""

from itertools import permutations

import numpy as np

from multifocal.volumes.geometry import Geometry
from multifocal.volumes.volume import Volume

LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}  # physical axis, sign


def axis_codes(geometry: Geometry) -> str:
    """Return the letters towards which the indices increase, as in "LPS"; of an oblique grid, the nearest.

    Example:
        >>> axis_codes(Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (0.0, 1.0, -1.0, 0.0)))
        'AL'
    """
    names = {target: letter for letter, target in LETTERS.items()}
    signs = np.where(geometry.matrix < 0, -1, 1)
    return "".join(names[row, int(signs[row, axis])] for axis, row in enumerate(_nearest_axes(geometry)))


def orient(volume: Volume, *, axes: str = "LPS") -> Volume:
    """Permute and flip axes so that increasing indices go towards `axes`, as nearly as permuting and flipping can.

    Values are exact, and every voxel keeps its physical point. Of a 2D image the letters L/R and P/A count. An image
    that already lies so comes back as it is.

    Raises:
        ValueError: `axes` does not name each anatomical axis once.

    Example:
        >>> grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
        >>> turned = orient(Volume(np.array([[1, 2], [3, 4]]), grid))
        >>> turned.array.tolist(), turned.geometry.origin
        ([[3, 4], [1, 2]], (-1.0, 0.0))
    """
    geometry, n = volume.geometry, volume.geometry.ndim
    wanted = [LETTERS.get(letter, (-1, 0)) for letter in axes]
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


def _nearest_axes(geometry: Geometry) -> tuple[int, ...]:
    # Axis by axis, the largest cosine can claim one anatomical axis twice near 45 degrees; the best permutation cannot.
    cosines = np.abs(geometry.matrix)
    axes = range(geometry.ndim)
    return max(permutations(axes), key=lambda rows: sum(cosines[row, axis] for axis, row in enumerate(rows)))
