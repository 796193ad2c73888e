"""The surface of a mask, in the two conventions in use, and the areas of the elements between voxel centres.

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
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from multifocal.errors import unknown_name

Convention = Literal["surfel", "voxel"]
_Triangle = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Surface:
    """The elements of a mask's surface on their own grid.

    `places` is True where there is an element; `weights` holds one number for each of them, in the order of
    `np.argwhere(places)`. The grid has the mask's spacing, so distances between surfaces are those between places.

    Args:
        places: boolean array, 2D or 3D.
        weights: float64 array, one number for each element: its area in mm² (2D: length in mm), or 1 for "voxel".

    Example:
        >>> surface(np.ones((2, 2), bool), spacing=(1.0, 1.0), convention="voxel").weights.tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    places: np.ndarray
    weights: np.ndarray


def surface(mask: np.ndarray, *, spacing: Sequence[float], convention: Convention = "surfel") -> Surface:
    """Return the surface of a 2D or 3D mask; outside the array is outside the mask.

    Args:
        mask: boolean array.
        spacing: mm per voxel along each array axis.
        convention: "surfel": an element at every corner of a voxel that is neither inside nor outside the mask, on a
            grid one longer than the mask along each axis, weighted with its area in mm² (2D: length in mm), as in
            surface-distance; "voxel": an element at every voxel of the mask with a face neighbour outside, weighted
            with 1, as in MONAI.

    Returns:
        Where the elements are, and what each weighs.

    Example:
        >>> one = surface(np.ones((1, 1), bool), spacing=(3.0, 4.0))
        >>> one.places.tolist(), one.weights.tolist()
        ([[True, True], [True, True]], [2.5, 2.5, 2.5, 2.5])
        >>> surface(np.ones((3, 3), bool), spacing=(1.0, 1.0), convention="voxel").weights.sum()
        np.float64(8.0)
    """
    if convention not in get_args(Convention):
        raise unknown_name("surface convention", convention, get_args(Convention))
    padded = np.zeros([side + 2 for side in mask.shape], bool)
    padded[(slice(1, -1),) * mask.ndim] = mask
    if convention == "voxel":
        places = _edge(padded)
        return Surface(places, np.ones(np.count_nonzero(places)))
    codes = _codes(padded)
    places = (codes != 0) & (codes != 2**2**mask.ndim - 1)
    return Surface(places, surfel_areas(spacing)[codes[places]])


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


def _edge(padded: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask (given padded by one voxel) that have a face neighbour outside it."""
    core = (slice(1, -1),) * padded.ndim
    deep = padded[core].copy()
    for axis in range(padded.ndim):
        for neighbours in (slice(None, -2), slice(2, None)):
            deep &= padded[(*core[:axis], neighbours, *core[axis + 1 :])]
    return padded[core] & ~deep


def _codes(padded: np.ndarray) -> np.ndarray:
    """Return the code of every 2×2×2 neighbourhood, with the bits that `surfel_areas` states."""
    codes = padded.view(np.uint8)
    for axis in reversed(range(padded.ndim)):
        before = (slice(None),) * axis
        codes = codes[(*before, slice(None, -1))] | codes[(*before, slice(1, None))] << 2 ** (padded.ndim - 1 - axis)
    return codes


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
    labels, count = ndimage.label(inside)  # joined along edges of the cube
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
