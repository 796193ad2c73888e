"""Areas of the surface elements between voxel centres.

A surface element (surfel) belongs to a corner shared by 2×2×2 voxels (2×2 in 2D). Which of these lie inside the mask
is a code of 8 (4) bits, and the code decides the element's shape. Take the cube between the 8 voxel centres:

1. the smaller of inside and outside is cut off (inside and outside of 4 corners each give the same);
2. its parts that do not touch along an edge of the cube are cut off one by one;
3. the cut passes through the middle of every edge that leaves the part, and these points, joined across the faces of
   the cube, form a ring of three to six points (in 2D: the two ends of a line);
4. the ring is filled with triangles; where it is not flat, with those of the largest total area on a cubic voxel.

This rule gives the elements of the marching cubes algorithm as surface-distance (Google DeepMind, 0.1) tabulates
them, for all 256 codes and any spacing. With another spacing a triangle keeps its corners, not its area.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import numpy as np

from multifocal.instances import components

_Triangle = tuple[int, int, int]


def surfel_areas(spacing: Sequence[float]) -> np.ndarray:
    """Return the area in mm² (2D: length in mm) of the surface element of every neighbourhood code.

    Voxel (i, j, k) of the 2×2×2 neighbourhood, each 0 or 1, is bit 4i + 2j + k of the code (2D: bit 2i + j).

    Args:
        spacing: mm per voxel along each array axis, 2 or 3 of them.

    Returns:
        float64 array of 256 areas (2D: 16 lengths); the codes of a neighbourhood all inside or all outside have 0.

    Example:
        >>> surfel_areas((2.0, 3.0)).tolist()[:4]  # none, a corner, a corner, the half with i = 0
        [0.0, 1.8027756377319946, 1.8027756377319946, 3.0]
    """
    sides = np.asarray(spacing, float)
    return np.linalg.norm(_normals(len(sides)) * (np.prod(sides) / sides), axis=-1).sum(axis=-1)


@cache
def _normals(ndim: int) -> np.ndarray:
    """Return (codes, pieces, ndim): vectors normal to the flat pieces of each element, as long as their areas are."""
    pieces = [list(_pieces(code, ndim)) for code in range(2**2**ndim)]
    table = np.zeros((len(pieces), max(map(len, pieces)), ndim))
    for code, normals in enumerate(pieces):
        if normals:
            table[code, : len(normals)] = normals
    return table


def _pieces(code: int, ndim: int) -> Iterator[np.ndarray]:
    inside = np.array([code >> bit & 1 for bit in range(2**ndim)], bool).reshape((2,) * ndim)
    if 2 * np.count_nonzero(inside) > inside.size:
        inside = ~inside
    labels, count = components(inside, connectivity="face")
    for part in range(1, count + 1):
        ring = _ring(labels == part)
        if ndim == 2:
            along = ring[1] - ring[0]
            yield np.array([along[1], -along[0]])
        else:
            yield from max((_normals_of(ring, way) for way in _triangulations(0, len(ring) - 1)), key=_area)


def _ring(part: np.ndarray) -> np.ndarray:
    """Return the middles of the cube's edges that leave the part, each followed by one on the same face."""
    middles = []
    for corner in product((0, 1), repeat=part.ndim):
        for axis in range(part.ndim):
            other = (*corner[:axis], 1 - corner[axis], *corner[axis + 1 :])
            if part[corner] and not part[other]:
                middles.append(np.add(corner, other) / 2)
    ring = [middles.pop()]
    while middles:
        # A coordinate of 0 or 1 lies on a face of the cube; middles have 0.5 along their own edge.
        shared = [bool(np.any((ring[-1] == middle) & (middle != 0.5))) for middle in middles]
        ring.append(middles.pop(shared.index(True) if part.ndim == 3 else 0))
    return np.array(ring)


def _triangulations(first: int, last: int) -> Iterator[list[_Triangle]]:
    """Yield every way to fill the polygon of the points first ... last of a ring with triangles."""
    if last - first < 2:
        yield []
    for tip in range(first + 1, last):
        for before, after in product(_triangulations(first, tip), _triangulations(tip, last)):
            yield [*before, (first, tip, last), *after]


def _normals_of(ring: np.ndarray, triangles: list[_Triangle]) -> list[np.ndarray]:
    return [np.cross(ring[b] - ring[a], ring[c] - ring[a]) / 2 for a, b, c in triangles]


def _area(normals: list[np.ndarray]) -> float:
    # Rounded, so that of several ways of equal area the first is taken everywhere.
    return round(float(np.linalg.norm(normals, axis=1).sum()), 9)
