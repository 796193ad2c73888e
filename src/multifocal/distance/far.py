"""The nearest of some points, however far it is."""

from collections.abc import Sequence

import numpy as np

# Blocks per square root of the number of points: few blocks to compare, few points in each.
_BLOCKS = 4


def nearest_goal(starts: np.ndarray, goals: np.ndarray, *, spacing: Sequence[float]) -> np.ndarray:
    """Return for each start the row of the nearest goal; of those equally near, the first.

    Args:
        starts: (N, ndim) integer indices of voxels, in 2D or 3D.
        goals: (M, ndim) indices of at least one voxel.
        spacing: mm per voxel along each axis.

    Example:
        >>> nearest_goal(np.array([[0, 0], [5, 5]]), np.array([[9, 9], [1, 2]]), spacing=(1.0, 1.0)).tolist()
        [1, 1]
    """
    from multifocal.kernels.blocks import search

    if not len(starts):
        return np.zeros(0, np.int64)
    sides = np.append(np.asarray(spacing, float), np.ones(3 - goals.shape[1]))
    starts, goals = _in_3d(starts), _in_3d(goals)
    return search(starts, _blocks(starts, sides), goals, _blocks(goals, sides), sides)


def _in_3d(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))), np.int64)


def _blocks(points: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the points' blocks: about cubes, larger where points fill a volume than where they are a surface."""
    from multifocal.kernels.blocks import group

    longest = float(np.max((points.max(axis=0) - points.min(axis=0) + 1) * sides))
    most = _BLOCKS * len(points) ** 0.5
    edges = np.ceil(longest / (most / 2) ** 0.5 / sides).astype(np.int64)
    while len((found := group(points, edges))[1]) > most + 1:
        edges *= 2
    return found
