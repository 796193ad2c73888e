"""How far it is to a mask."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from multifocal.distance.far import nearest_goal
from multifocal.distance.nearby import look_around

# Below this many array elements per point a transform of the whole array costs less than a search among the points.
_ELEMENTS_PER_POINT = 8


def distance_to(mask: np.ndarray, *, spacing: Sequence[float], at: np.ndarray | None = None) -> np.ndarray:
    """Return the Euclidean distance in mm from the centre of each voxel to that of the nearest voxel of the mask.

    `d(x) = min over y in mask of sqrt(sum_i (spacing_i (x_i - y_i))^2)`, exact in double precision; infinite
    everywhere when the mask is empty.

    Args:
        mask: boolean array.
        spacing: mm per voxel along each array axis.
        at: boolean array of the mask's shape: measure only at these voxels, which is much faster when they are few.

    Returns:
        float64 array of the mask's shape; with `at`, the values at its True voxels as `distances[at]` gives them.

    Example:
        >>> distance_to(np.array([[True, False, False]]), spacing=(1.0, 2.5)).tolist()
        [[0.0, 2.5, 5.0]]
    """
    if at is None:
        if not mask.any():
            return np.full(mask.shape, np.inf)
        return ndimage.distance_transform_edt(~mask, sampling=spacing)
    starts, goals = _places(at), _places(mask)
    if not len(goals):
        return np.full(len(starts), np.inf)
    distances = np.zeros(len(starts))
    outside = np.flatnonzero(~mask[tuple(starts.T)])
    starts = starts[outside]
    steps = (starts - nearest_places(mask, starts, goals=goals, spacing=spacing)) * np.asarray(spacing, float)
    distances[outside] = np.sqrt(np.sum(steps * steps, axis=1))
    return distances


def nearest_places(mask: np.ndarray, places: np.ndarray, *, goals: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return for each of some voxels outside the mask which of its voxels is the nearest.

    Args:
        mask: boolean array.
        places: (N, ndim) indices of voxels.
        goals: (M, ndim) indices of at least those voxels of the mask that can be nearest to one outside, one or more.
            Of those equally near the first one is taken if it is far, and with the last axis slowest if it is near.
        spacing: mm per voxel along each array axis.

    Returns:
        (N, ndim) indices.

    Example:
        >>> mask = np.array([[True, False, False, False, True]])
        >>> nearest_places(mask, np.array([[0, 1]]), goals=np.argwhere(mask), spacing=(1.0, 1.0)).tolist()
        [[0, 0]]
    """
    steps, far = look_around(mask, places, spacing=spacing)
    found = places + steps
    if not len(far):
        return found
    if _ELEMENTS_PER_POINT * (len(goals) + len(far)) > mask.size:
        nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_distances=False, return_indices=True)
        found[far] = nearest[(slice(None), *places[far].T)].T
    else:
        found[far] = goals[nearest_goal(places[far], goals, spacing=spacing)]
    return found


def _places(mask: np.ndarray) -> np.ndarray:
    """Return the indices of the True voxels, one a row: what `np.argwhere` gives, several times faster."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)
