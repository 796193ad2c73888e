"""CC-Dice: every true lesion counts the same, whatever its size."""

import numpy as np

from multifocal.instances import Instances, Pairs, voronoi_cells


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
    beside, _ = voronoi_cells(target, ties="first-voxel", at=overlaps.voxels[outside[overlaps.pair]])
    predicted = shared + np.bincount(beside, minlength=target.total)
    return float(np.mean(2 * shared / (predicted + target.sizes)))
