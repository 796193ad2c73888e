"""All metrics of one case in one call."""

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from multifocal.distance import Convention
from multifocal.metrics.masks import as_spacing, as_tolerance, mask_pair
from multifocal.metrics.overlap import overlap
from multifocal.metrics.surface import surface_distances


def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    tolerance: float = 2.0,
    convention: Convention = "surfel",
) -> dict[str, float]:
    """Compare a predicted mask with the true one.

    Args:
        prediction: 2D or 3D mask of zeros and ones, boolean, integer or float.
        target: mask of the same shape.
        spacing: mm per voxel along each axis of the arrays; a 2D pixel counts as 1 mm thick.
        tolerance: distance in mm up to which surfaces agree for the NSD.
        convention: how surfaces are measured, "surfel" or "voxel"; see `multifocal.distance.surface`.

    Returns:
        The metrics of `multifocal.metrics.METRICS` by name, in that order. NaN where a metric is undefined; two empty
        masks agree perfectly, and with one empty mask the overlap and the NSD are 0 and distances are undefined.

    Raises:
        ValueError: an argument is not valid; the message names it, its value and what is expected.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((8, 8, 8), bool)
        >>> target[2:6, 2:6, 2:6] = True
        >>> scores = evaluate_case(np.roll(target, 1, axis=0), target, spacing=(1.0, 1.0, 4.0))
        >>> scores["dice"], scores["nsd"], scores["true_ml"], round(scores["masd"], 3)
        (0.75, 1.0, 0.256, 0.415)
    """
    predicted, true = mask_pair(prediction, target)
    sides = as_spacing(spacing, ndim=true.ndim)
    tolerance = as_tolerance(tolerance)
    voxels = overlap(predicted, true)
    surfaces = surface_distances(predicted, true, spacing=sides, convention=convention)
    voxel_ml = math.prod(sides) / 1000
    return {
        "dice": voxels.dice,
        "masd": surfaces.masd,
        "nsd": surfaces.nsd(tolerance=tolerance),
        "volume_difference": (voxels.predicted - voxels.true) * voxel_ml,
        "relative_volume_difference": voxels.relative_volume_difference,
        "hd95": surfaces.hd95,
        "assd": surfaces.assd,
        "sensitivity": voxels.sensitivity,
        "precision": voxels.precision,
        "specificity": voxels.specificity,
        "predicted_ml": voxels.predicted * voxel_ml,
        "true_ml": voxels.true * voxel_ml,
    }
