"""The surface of a mask, in the two conventions in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from multifocal.distance.surfels import surfel_areas
from multifocal.errors import unknown_name

Convention = Literal["surfel", "voxel"]


@dataclass(frozen=True, eq=False)
class Surface:
    """The elements of a mask's surface on their own grid.

    `places` is True where there is an element; `weights` holds one number for each of them, in the order of
    `np.argwhere(places)`. The grid has the mask's spacing, so distances between surfaces are those between places.
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
