"""CC-Dice: every true lesion counts the same, whatever its size."""

import numpy as np

from multifocal.distance.nearest import nearest_places
from multifocal.instances import Instances, Pairs


def cc_dice(prediction: Instances, target: Instances, overlaps: Pairs) -> float:
    """Return the mean Dice over the Voronoi cells of the true lesions; 1 if there are no lesions at all.

    A voxel belongs to the cell of the nearest true lesion, counted in voxels; where several are equally near, to that
    of the nearest voxel that comes first with the last axis slowest. Both are the rules of ccmetrics 0.0.3 (Jaus et
    al., "Every component counts", arXiv:2410.18684), which knows no spacing.

    Args:
        prediction: the predicted lesions of one image.
        target: the true ones.
        overlaps: `multifocal.instances.pairs(prediction, target)`.

    Returns:
        The mean, 0 to 1.

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
    places = np.stack(np.unravel_index(voxels, labels.shape), axis=1)
    goals = np.stack(lesions.places, axis=1)[_edge(lesions)]
    goals = goals[np.lexsort(goals.T)]  # the last axis slowest
    nearest = nearest_places(labels > 0, places, goals=goals, spacing=(1.0,) * labels.ndim)
    return labels[tuple(nearest.T)] - 1


def _edge(lesions: Instances) -> np.ndarray:
    """Return the voxels of the lesions, as places in `lesions.voxels`, that can be the nearest to one outside.

    Such a voxel has a face neighbour outside, towards the other one: a nearer one would lie between. Neighbours across
    the image's border are of no account.
    """
    inside = np.zeros(np.prod(lesions.shape), bool)
    inside[lesions.voxels] = True
    deep = np.ones(len(lesions.voxels), bool)
    for axis in range(len(lesions.shape)):
        step = int(np.prod(lesions.shape[axis + 1 :]))
        for side in (-step, step):
            deep &= inside.take(lesions.voxels + side, mode="clip")
    return np.flatnonzero(~deep)
