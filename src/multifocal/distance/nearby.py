"""What is nearby: surfaces of masks that agree well lie a few voxels apart."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_REACH = 6.5  # how far to look, in steps of the shortest side
_MOST = 400  # and at how many places, the nearest first


def look_around(goals: np.ndarray, places: np.ndarray, *, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Look for goals in the voxels around some places, the nearest first.

    Args:
        goals: boolean array.
        places: (N, ndim) indices of voxels that are no goals.
        spacing: mm per voxel along each array axis.

    Returns:
        For each place the step in voxels to its nearest goal (of those equally near the first one, with the last axis
        slowest), no step where none was found near; and which of the places, as indices, these are.

    Example:
        >>> goals = np.array([[True, False, False, False, False, False, False, False, False, False]])
        >>> steps, far = look_around(goals, np.array([[0, 1], [0, 9]]), spacing=(1.0, 1.5))
        >>> steps.tolist(), far.tolist()
        ([[0, -1], [0, 0]], [1])
    """
    from multifocal.kernels.neighbours import first_hit

    steps = _steps(tuple(spacing))
    margin = np.abs(steps).max(axis=0)
    padded = np.zeros([side + 2 * wide for side, wide in zip(goals.shape, margin, strict=True)], bool)
    padded[tuple(slice(wide, wide + side) for side, wide in zip(goals.shape, margin, strict=True))] = goals
    here = np.ravel_multi_index(tuple((places + margin).T), padded.shape)
    hits = first_hit(padded.reshape(-1), here, steps @ np.array(padded.strides))
    far = hits < 0
    return np.where(far[:, None], 0, steps[hits]), np.flatnonzero(far)


@lru_cache(maxsize=64)
def _steps(spacing: tuple[float, ...]) -> np.ndarray:
    """Return all steps in whole voxels up to the reach, shortest first."""
    reach = _REACH * min(spacing)
    axes = [np.arange(-int(reach / side), int(reach / side) + 1) for side in reversed(spacing)]
    steps = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], axis=-1).reshape(-1, len(spacing))
    lengths = np.sqrt(np.sum((steps * np.array(spacing)) ** 2, axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[(lengths[order] > 0) & (lengths[order] <= reach)][:_MOST]
    return steps[order]
