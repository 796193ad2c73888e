"""A common space for several brains: its grid, and their mean in it without their lesions."""

from collections.abc import Sequence

import numpy as np

from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.registration import Registration

_HALF = 2.6  # of the grid, in standard deviations of the brain: the semi-axis of an ellipsoid is √5 of them
_FEWEST = 1e-3  # what a lesion weighs where no case is healthy


def template_grid(spread: np.ndarray, spacing: float) -> Geometry:
    """Return a grid that holds a brain about the origin.

    Args:
        spread: standard deviations of the brain's voxels along the axes of space, in mm, `(3,)`.
        spacing: in mm.

    Returns:
        The grid, of an odd number of voxels along each axis.

    Example:
        >>> template_grid(np.array([20.0, 25.0, 18.0]), 2.0).size
        (53, 67, 49)
    """
    half = np.ceil(_HALF * spread / spacing).astype(int)
    identity = tuple(np.eye(3).ravel())
    return Geometry(tuple(2 * half + 1), (spacing,) * 3, tuple(-half * spacing), identity)


def mean_brain(
    parts: Sequence[tuple[Volume, np.ndarray]], found: Sequence[Registration], geometry: Geometry
) -> np.ndarray:
    """Return the mean of brains without their lesions, where at least half of them have brain.

    Args:
        parts: each brain, 0 outside, and where it has lesions, bool of its shape.
        found: where each point of the common space lies in each brain.
        geometry: of the common space.

    Returns:
        float32 `(*spatial)`, 0 elsewhere.

    Example:
        >>> grid = Geometry((3, 1, 1), (1.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> still = Registration(np.eye(3, 4), np.zeros((3, 1, 1, 3), np.float32), grid)
        >>> brain, none = Volume(np.float32([[[0]], [[4]], [[6]]]), grid), np.zeros((3, 1, 1), bool)
        >>> mean_brain([(brain, none)], [still], grid).ravel().tolist()
        [0.0, 4.0, 6.0]
    """
    total, weights, inside = (np.zeros(geometry.size) for _ in range(3))
    for (brain, lesion), one in zip(parts, found, strict=True):
        is_brain = brain.array != 0
        counts = np.where(lesion, np.float32(_FEWEST), np.float32(1)) * is_brain
        weight = one.pull(Volume(counts, brain.geometry), geometry).array
        total += one.pull(Volume(counts * brain.array, brain.geometry), geometry).array
        weights += weight
        inside += one.pull(Volume(is_brain, brain.geometry), geometry).array
    mean = np.divide(total, weights, out=np.zeros(geometry.size), where=weights > 0)
    return np.where(inside >= 0.5 * len(parts), mean, 0).astype(np.float32)
