"""How far apart the surfaces of prediction and target are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from multifocal.distance import Convention, distance_to, surface
from multifocal.limits import at_most
from multifocal.metrics.validation import as_spacing, as_tolerance, common_box, mask_pair


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each element of one surface to the other surface, with the weights of the elements.

    Two empty masks agree perfectly: distances are 0, the NSD is 1. When only one is empty, distances are undefined
    (NaN) and the NSD is 0.

    Attributes:
        from_prediction: distance in mm of each element of the prediction's surface, shape (elements,).
        prediction_weights: of those elements: their area in mm² under "surfel", 1 under "voxel".
        from_target: the same for the target's surface.
        target_weights: the same for the target's surface.
        convention: how surfaces are measured.

    Example:
        >>> one = np.ones(1)
        >>> SurfaceDistances(one, one, 2 * one, one, "voxel").masd
        1.5
    """

    from_prediction: np.ndarray
    prediction_weights: np.ndarray
    from_target: np.ndarray
    target_weights: np.ndarray
    convention: Convention

    @property
    def masd(self) -> float:
        """Mean average surface distance: the mean of the two directed means, each weighted by its elements.

        Not the ASSD, which pools both surfaces before it averages; the two differ where one surface is larger.
        """
        if self._one_is_empty:
            return self._distance_without_surface
        return sum(float(np.average(distances, weights=weights)) for distances, weights in self._sides) / 2

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: one mean over the elements of both surfaces together.

        With edge voxels what MONAI's `compute_average_surface_distance(symmetric=True)` returns.
        """
        if self._one_is_empty:
            return self._distance_without_surface
        return sum(float((distances * weights).sum()) for distances, weights in self._sides) / self._weight

    @property
    def hd95(self) -> float:
        """95 % Hausdorff distance: the larger of the two directed 95th percentiles.

        "surfel": the smallest distance within which 95 % of the area lie, as in surface-distance; "voxel": the
        percentile interpolated between elements, as in MONAI. medpy pools both directions, which gives another number.
        """
        if self._one_is_empty:
            return self._distance_without_surface
        percentile = _percentile_of_area if self.convention == "surfel" else _percentile_of_elements
        return max(percentile(distances, weights, 0.95) for distances, weights in self._sides)

    def nsd(self, *, tolerance: float = 2.0) -> float:
        """Normalized surface Dice: the share of both surfaces together that lies within `tolerance` mm of the other.

        Args:
            tolerance: in mm.

        Returns:
            A share, 0 to 1.

        Raises:
            ValueError: the tolerance is negative or not finite.
        """
        tolerance = as_tolerance(tolerance)
        if not self._weight:
            return 1.0
        near = (weights[at_most(distances, tolerance)] for distances, weights in self._sides)
        return sum(float(weights.sum()) for weights in near) / self._weight

    @property
    def _sides(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return (self.from_prediction, self.prediction_weights), (self.from_target, self.target_weights)

    @property
    def _weight(self) -> float:
        return float(self.prediction_weights.sum() + self.target_weights.sum())

    @property
    def _one_is_empty(self) -> bool:
        return min(len(self.from_prediction), len(self.from_target)) == 0

    @property
    def _distance_without_surface(self) -> float:
        return math.nan if self._weight else 0.0


def surface_distances(
    prediction: ArrayLike, target: ArrayLike, *, spacing: Sequence[float], convention: Convention = "surfel"
) -> SurfaceDistances:
    """Measure from the surface of each of two masks to that of the other.

    Args:
        prediction: 2D or 3D mask of zeros and ones.
        target: mask of the same shape.
        spacing: mm per voxel along each array axis.
        convention: "surfel" (elements weighted by area, as in surface-distance and the BONBID-HIE challenge) or
            "voxel" (edge voxels, as in MONAI); see `multifocal.distance.surface`.

    Returns:
        The distances of both surfaces.

    Raises:
        ValueError: a mask, the spacing or the convention is not valid; the message names it.

    Example:
        >>> wall = np.zeros((4, 1), bool)
        >>> wall[:2] = True
        >>> distances = surface_distances(wall, ~wall, spacing=(3.0, 1.0), convention="voxel")
        >>> distances.masd, distances.nsd(tolerance=3.0)
        (4.5, 0.5)
    """
    predicted, true = mask_pair(prediction, target)
    sides = as_spacing(spacing, ndim=true.ndim)
    box = common_box(predicted, true)
    return distances_between(predicted[box], true[box], spacing=sides, convention=convention)


def distances_between(
    prediction: np.ndarray, target: np.ndarray, *, spacing: tuple[float, ...], convention: Convention
) -> SurfaceDistances:
    """Measure between the surfaces of two masks that are checked already.

    Args:
        prediction: boolean mask, cropped to what both hold.
        target: boolean mask of the same shape.
        spacing: mm per voxel along each array axis.
        convention: "surfel" or "voxel".

    Returns:
        The distances of both surfaces.
    """
    surfaces = [surface(mask, spacing=spacing, convention=convention) for mask in (prediction, target)]
    return SurfaceDistances(
        from_prediction=distance_to(surfaces[1].places, spacing=spacing, at=surfaces[0].places),
        prediction_weights=surfaces[0].weights,
        from_target=distance_to(surfaces[0].places, spacing=spacing, at=surfaces[1].places),
        target_weights=surfaces[1].weights,
        convention=convention,
    )


def _percentile_of_area(distances: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.lexsort((weights, distances))
    within = np.cumsum(weights[order]) / weights.sum()
    place = int(np.searchsorted(within, share))
    return float(distances[order][min(place, len(distances) - 1)])


def _percentile_of_elements(distances: np.ndarray, weights: np.ndarray, share: float) -> float:
    del weights  # every voxel counts the same
    return float(np.quantile(distances, share))
