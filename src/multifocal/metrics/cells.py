"""CC-Dice: every true lesion counts the same, whatever its size."""

import numpy as np
from scipy import ndimage

from multifocal.distance.far import nearest_goal
from multifocal.distance.nearby import look_around
from multifocal.instances import Instances, Pairs

# Below this many voxels of the image per point one transform of the image costs less than a search among the points.
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
    places = np.stack(np.unravel_index(voxels, labels.shape), axis=1)
    steps, _, far = look_around(labels > 0, places, spacing=(1.0,) * labels.ndim)
    found = labels[tuple((places + steps).T)] - 1
    if len(far):
        found[far] = _nearest_of_all(lesions, labels, places[far])
    return found


def _nearest_of_all(lesions: Instances, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the same for voxels that may be far from all lesions."""
    if _VOXELS_PER_POINT * len(places) > labels.size:
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        return labels[tuple(axis[tuple(places.T)] for axis in nearest)] - 1
    edge = _edge(lesions)
    goals = np.stack([place[edge] for place in lesions.places], axis=1)
    first = np.lexsort(goals.T)  # the last axis slowest: the first goal wins ties
    return lesions.labels[edge[first]][nearest_goal(places, goals[first], spacing=(1.0,) * labels.ndim)] - 1


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
