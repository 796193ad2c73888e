"""CC-Dice: every true lesion counts the same, whatever its size."""

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from multifocal.distance import surface
from multifocal.instances import Instances, Pairs

# Below this many voxels of the image per point one transform of the image costs less than a tree of the points.
_VOXELS_PER_POINT = 8


def cc_dice(prediction: Instances, target: Instances, overlaps: Pairs) -> float:
    """Return the mean Dice over the Voronoi cells of the true lesions; 1 if there are no lesions at all.

    A voxel belongs to the cell of the nearest true lesion, counted in voxels; where several are equally near, to that
    of the nearest voxel that comes first with the last axis slowest. Both are the rules of ccmetrics 0.0.3 (Jaus et
    al., "Every component counts", arXiv:2410.18684), which knows no spacing.

    Args:
        prediction: the predicted lesions of one image.
        target: the true ones.
        overlaps: `multifocal.instances.pairs(prediction, target)`.

    Example:
        >>> from multifocal.instances import label, pairs
        >>> sides = [label(np.array([[row]], bool)) for row in ([1, 1, 0, 0, 1, 0], [1, 1, 0, 0, 0, 1])]
        >>> cc_dice(*sides, pairs(*sides))
        0.5
    """
    if not target.total:
        return 0.0 if prediction.total else 1.0
    counts = overlaps.counts
    both, outside = (overlaps.prediction > 0) & (overlaps.target > 0), overlaps.target == 0
    n = overlaps.target[both] - 1
    shared = np.bincount(n, weights=counts[both], minlength=target.total)
    beside = _nearest(target, overlaps.voxels[outside[overlaps.pair]])
    predicted = shared + np.bincount(beside, minlength=target.total)
    return float(np.mean(2 * shared / (predicted + target.sizes)))


def _nearest(lesions: Instances, voxels: np.ndarray) -> np.ndarray:
    """Return the lesion (from 0) whose cell each of some voxels outside the lesions lies in."""
    if lesions.total == 1 or not len(voxels):
        return np.zeros(len(voxels), np.int64)
    labels = lesions.dense()[0]
    if _VOXELS_PER_POINT * len(voxels) > labels.size:
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        return labels[tuple(axis.reshape(-1)[voxels] for axis in nearest)] - 1
    # The nearest voxels of the lesions have a face neighbour outside, or a nearer one would lie between.
    edge = np.nonzero(surface(labels > 0, spacing=(1.0,) * labels.ndim, convention="voxel").places)
    # Squared distances are whole numbers: an axis more, along which squares stay below 1/2, breaks ties by place.
    rank = np.ravel_multi_index(edge[::-1], labels.shape[::-1]) / labels.size
    tree = KDTree(np.stack([*edge, np.sqrt(rank / 2)], axis=1), compact_nodes=False, balanced_tree=False)
    places = np.unravel_index(voxels, labels.shape)
    return labels[edge][tree.query(np.stack([*places, np.zeros(len(voxels))], axis=1))[1]] - 1
