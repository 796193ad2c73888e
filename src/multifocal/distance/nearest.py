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
    _, distances[outside], far = look_around(mask, starts[outside], spacing=spacing)
    if not len(far):
        return distances
    outside = outside[far]
    starts = starts[outside]
    if _ELEMENTS_PER_POINT * (len(goals) + len(starts)) > mask.size:
        nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_distances=False, return_indices=True)
        ends = nearest[(slice(None), *starts.T)].T
    else:
        ends = goals[nearest_goal(starts, goals, spacing=spacing)]
    offsets = (starts - ends) * np.asarray(spacing, float)
    distances[outside] = np.sqrt(np.sum(offsets * offsets, axis=1))
    return distances


def _places(mask: np.ndarray) -> np.ndarray:
    """Return the indices of the True voxels, one a row: what `np.argwhere` gives, several times faster."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)
