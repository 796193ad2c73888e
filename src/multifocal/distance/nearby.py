"""Distances to what is near: surfaces of masks that agree well lie a few voxels apart."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_REACH = 4.5  # how far to look, in steps of the shortest side
_MOST = 128  # and at how many places, the nearest first
_ROUND, _SHARE = 8, 0.05  # looking goes on while so many places settle such a share of what is open


def look_around(goals: np.ndarray, places: np.ndarray, *, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Look for goals in the voxels around some places, the nearest first.

    Args:
        goals: boolean array.
        places: (N, ndim) indices of voxels that are no goals.
        spacing: mm per voxel along each array axis.

    Returns:
        For each place the distance in mm to its nearest goal, infinite where none was found near; and which of the
        places, as indices, these are.

    Example:
        >>> goals = np.array([[True, False, False, False, False, False, False, False]])
        >>> distances, far = look_around(goals, np.array([[0, 1], [0, 7]]), spacing=(1.0, 1.5))
        >>> distances.tolist(), far.tolist()
        ([1.5, inf], [1])
    """
    offsets, lengths = _offsets(tuple(spacing))
    margin = np.abs(offsets).max(axis=0)
    padded = np.zeros([side + 2 * wide for side, wide in zip(goals.shape, margin, strict=True)], bool)
    padded[tuple(slice(wide, wide + side) for side, wide in zip(goals.shape, margin, strict=True))] = goals
    flat = padded.reshape(-1)
    distances, left = np.full(len(places), np.inf), np.arange(len(places))
    here = np.ravel_multi_index(tuple((places + margin).T), padded.shape)
    steps = offsets @ padded.strides
    for start in range(0, len(steps), _ROUND):
        before = len(left)
        for step, length in zip(steps[start : start + _ROUND], lengths[start : start + _ROUND], strict=True):
            found = flat[here + step]
            if found.any():
                distances[left[found]] = length
                left, here = left[~found], here[~found]
        if before - len(left) <= _SHARE * before:
            break
    return distances, left


@lru_cache(maxsize=64)
def _offsets(spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return all steps in whole voxels up to the reach, shortest first, and their lengths in mm."""
    reach = _REACH * min(spacing)
    axes = [np.arange(-int(reach / side), int(reach / side) + 1) for side in spacing]
    steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(spacing))
    lengths = np.sqrt(np.sum((steps * np.array(spacing)) ** 2, axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[(lengths[order] > 0) & (lengths[order] <= reach)][:_MOST]
    return steps[order], lengths[order]
