"""How far it is to a mask, and which of its voxels is the nearest."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage

# Below this many array elements per point a transform of the whole array costs less than a search among the points.
_ELEMENTS_PER_POINT = 8
# Surfaces of masks that agree well lie a few voxels apart: how far to look at first, in steps of the shortest side,
_REACH = 6.5
# and at how many places, the nearest first.
_MOST = 400
# Blocks per square root of the number of points: few blocks to compare, few points in each.
_BLOCKS = 4


def distance_to(mask: np.ndarray, *, spacing: Sequence[float], at: np.ndarray | None = None) -> np.ndarray:
    """Return the Euclidean distance in mm from the centre of each voxel to that of the nearest voxel of the mask.

    `d(x) = min over y in mask of sqrt(sum_i (spacing_i (x_i - y_i))^2)`, exact in double precision; infinite
    everywhere when the mask is empty.

    Args:
        mask: boolean array.
        spacing: mm per voxel along each array axis.
        at: boolean array of the mask's shape: measure only at these voxels, which is much faster when they are few.

    Returns:
        float64 array of the mask's shape, in mm; with `at`, the values at its True voxels as `distances[at]` gives
        them.

    Example:
        >>> distance_to(np.array([[True, False, False]]), spacing=(1.0, 2.5)).tolist()
        [[0.0, 2.5, 5.0]]
    """
    if at is None:
        if not mask.any():
            return np.full(mask.shape, np.inf)
        return ndimage.distance_transform_edt(~mask, sampling=spacing)
    queries, targets = _places(at), _places(mask)
    if not len(targets):
        return np.full(len(queries), np.inf)
    distances = np.zeros(len(queries))
    outside = np.flatnonzero(~mask[tuple(queries.T)])
    queries = queries[outside]
    steps = (queries - nearest_places(mask, queries, targets=targets, spacing=spacing)) * np.asarray(spacing, float)
    distances[outside] = np.sqrt(np.sum(steps * steps, axis=1))
    return distances


def nearest_places(
    mask: np.ndarray, queries: np.ndarray, *, targets: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Return for each of some voxels outside the mask which of its voxels is the nearest.

    Args:
        mask: boolean array.
        queries: (N, ndim) indices of voxels outside the mask.
        targets: (M, ndim) indices of at least those voxels of the mask that can be nearest to one outside, one or more.
            Of those equally near the first one is taken if it is far, and with the last axis slowest if it is near.
        spacing: mm per voxel along each array axis.

    Returns:
        (N, ndim) indices.

    Example:
        >>> mask = np.array([[True, False, False, False, True]])
        >>> nearest_places(mask, np.array([[0, 1]]), targets=np.argwhere(mask), spacing=(1.0, 1.0)).tolist()
        [[0, 0]]
    """
    steps, far = neighbourhood_search(mask, queries, spacing=spacing)
    found = queries + steps
    if not len(far):
        return found
    if _ELEMENTS_PER_POINT * (len(targets) + len(far)) > mask.size:
        nearest = ndimage.distance_transform_edt(~mask, sampling=spacing, return_distances=False, return_indices=True)
        found[far] = nearest[(slice(None), *queries[far].T)].T
    else:
        found[far] = targets[block_search(queries[far], targets, spacing=spacing)]
    return found


def neighbourhood_search(
    mask: np.ndarray, queries: np.ndarray, *, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Look for a mask's voxels in the neighbourhoods of some others, the nearest first.

    Args:
        mask: boolean array.
        queries: (N, ndim) indices of voxels outside the mask.
        spacing: mm per voxel along each array axis.

    Returns:
        For each query the step in voxels to the nearest voxel of the mask (of those equally near the first one, with
        the last axis slowest), no step where none was found near; and which of the queries, as indices, these are.

    Example:
        >>> mask = np.array([[True, False, False, False, False, False, False, False, False, False]])
        >>> steps, far = neighbourhood_search(mask, np.array([[0, 1], [0, 9]]), spacing=(1.0, 1.5))
        >>> steps.tolist(), far.tolist()
        ([[0, -1], [0, 0]], [1])
    """
    from multifocal.kernels.point_search import first_hit

    steps = _steps(tuple(spacing))
    margin = np.abs(steps).max(axis=0)
    padded = np.zeros([side + 2 * wide for side, wide in zip(mask.shape, margin, strict=True)], bool)
    padded[tuple(slice(wide, wide + side) for side, wide in zip(mask.shape, margin, strict=True))] = mask
    here = np.ravel_multi_index(tuple((queries + margin).T), padded.shape)
    hits = first_hit(padded.reshape(-1), here, steps @ np.array(padded.strides))
    far = hits < 0
    return np.where(far[:, None], 0, steps[hits]), np.flatnonzero(far)


def block_search(queries: np.ndarray, targets: np.ndarray, *, spacing: Sequence[float]) -> np.ndarray:
    """Return for each query the row of the nearest target, however far it is; of those equally near, the first.

    Args:
        queries: (N, ndim) integer indices of voxels, in 2D or 3D.
        targets: (M, ndim) indices of at least one voxel.
        spacing: mm per voxel along each axis.

    Returns:
        int64, one row of `targets` for each query.

    Example:
        >>> block_search(np.array([[0, 0], [5, 5]]), np.array([[9, 9], [1, 2]]), spacing=(1.0, 1.0)).tolist()
        [1, 1]
    """
    from multifocal.kernels.point_search import search_blocks

    if not len(queries):
        return np.zeros(0, np.int64)
    sides = np.append(np.asarray(spacing, float), np.ones(3 - targets.shape[1]))
    queries, targets = _in_3d(queries), _in_3d(targets)
    return search_blocks(queries, _blocks(queries, sides), targets, _blocks(targets, sides), sides)


def _places(mask: np.ndarray) -> np.ndarray:
    """Return the indices of the True voxels, one a row: what `np.argwhere` gives, several times faster."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1)


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


def _in_3d(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))), np.int64)


def _blocks(points: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the points' blocks: about cubes, larger where points fill a volume than where they are a surface."""
    from multifocal.kernels.point_search import group_in_blocks

    longest = float(np.max((points.max(axis=0) - points.min(axis=0) + 1) * sides))
    most = _BLOCKS * len(points) ** 0.5
    edges = np.ceil(longest / (most / 2) ** 0.5 / sides).astype(np.int64)
    while len((found := group_in_blocks(points, edges))[1]) > most + 1:
        edges *= 2
    return found
