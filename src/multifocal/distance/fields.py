"""How far each voxel is from the other side of a mask's border."""

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial import KDTree

# Up to this many voxels a tree of the mask's shell costs less than a transform of the image.
_FEW = 8192


def border_field(
    mask: np.ndarray, *, spacing: Sequence[float] | None = None, power: float = 2.0, threads: int = 1
) -> np.ndarray | None:
    """Return for each voxel the distance to the nearest voxel on the other side, to a power.

    Inside the mask this is the distance to the background, outside that to the mask; exact. The fastest by
    measurement: in 3D ITK's Maurer transform, in 2D SciPy's; inside few voxels, a tree of the voxels around them.

    Args:
        mask: boolean, 2D or 3D.
        spacing: mm per voxel along each axis; None counts in voxels.
        power: 1 for distances, 2 for squared ones.
        threads: that ITK may use.

    Returns:
        float32 array, or None for a mask without a border: all of it inside, or all outside.

    Example:
        >>> border_field(np.array([[True, True, False, False]]), power=1.0).tolist()
        [[2.0, 1.0, 1.0, 2.0]]
    """
    inside = np.count_nonzero(mask)
    if inside in (0, mask.size):
        return None
    outside = _to_mask(mask, spacing, threads)
    if inside <= _FEW:
        outside[mask] = _to_outside(mask, spacing)
    else:
        np.copyto(outside, _to_mask(~mask, spacing, threads), where=mask)
    if power == 2.0:
        return outside
    return np.sqrt(outside, out=outside) if power == 1.0 else np.power(outside, power / 2.0, out=outside)


def _to_mask(mask: np.ndarray, spacing: Sequence[float] | None, threads: int) -> np.ndarray:
    """Return float32 squared distances to the mask, right where the mask is not."""
    if mask.ndim == 2 or min(mask.shape) == 1:
        return np.square(ndimage.distance_transform_edt(~mask, sampling=spacing)).astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    if spacing is not None:
        image.SetSpacing([float(side) for side in reversed(spacing)])
    transform = sitk.SignedMaurerDistanceMapImageFilter()
    transform.SetSquaredDistance(True)
    transform.SetUseImageSpacing(True)
    transform.SetNumberOfThreads(threads)
    return sitk.GetArrayFromImage(transform.Execute(image))


def _to_outside(mask: np.ndarray, spacing: Sequence[float] | None) -> np.ndarray:
    """Return squared distances from the mask's voxels to the outside, by a tree: for masks of few voxels."""
    starts = np.stack(np.nonzero(mask), axis=1)
    # The nearest voxel outside has a face neighbour inside, or a nearer one would lie between them.
    shell = np.zeros([side + 2 for side in mask.shape], bool)
    within = (slice(1, -1),) * mask.ndim
    for axis in range(mask.ndim):
        for step in (-1, 1):
            moved = starts + 1
            moved[:, axis] += step
            shell[tuple(moved.T)] = True
    goals = np.stack(np.nonzero(shell[within] & ~mask), axis=1)
    sides = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, float)
    distances, _ = KDTree(goals * sides, compact_nodes=False, balanced_tree=False).query(starts * sides)
    return np.square(distances)
