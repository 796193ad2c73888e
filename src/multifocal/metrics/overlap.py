"""How many voxels prediction and target share."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from multifocal.metrics.validation import as_mask, mask_pair


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a prediction against its target, and what follows from them.

    A quotient of 0 / 0 is undefined (NaN), but two empty masks agree perfectly: they score 1.

    Attributes:
        both: voxels of both masks.
        predicted: voxels of the prediction.
        true: voxels of the target.
        total: voxels of the image.

    Example:
        >>> Overlap(both=3, predicted=4, true=6, total=100).precision
        0.75
    """

    both: int
    predicted: int
    true: int
    total: int

    @property
    def dice(self) -> float:
        """`2 |P∩G| / (|P| + |G|)`; 1 for two empty masks."""
        return self._score(2 * self.both, self.predicted + self.true)

    @property
    def sensitivity(self) -> float:
        """`|P∩G| / |G|`: the share of the target that is found; undefined when only the target is empty."""
        return self._score(self.both, self.true)

    @property
    def precision(self) -> float:
        """`|P∩G| / |P|`: the share of the prediction that is right; undefined when only the prediction is empty."""
        return self._score(self.both, self.predicted)

    @property
    def specificity(self) -> float:
        """`|not P ∩ not G| / |not G|`: the share of the rest left alone; undefined when the target fills the image."""
        negative = self.total - self.true
        left_alone = negative - (self.predicted - self.both)
        return left_alone / negative if negative else math.nan

    @property
    def relative_volume_difference(self) -> float:
        """`(|P| - |G|) / |G|`; 0 for two empty masks, undefined when only the target is empty."""
        if self.true == 0:
            return 0.0 if self.predicted == 0 else math.nan
        return (self.predicted - self.true) / self.true

    def _score(self, part: int, whole: int) -> float:
        if self.predicted == self.true == 0:
            return 1.0
        return part / whole if whole else math.nan


def overlap(prediction: ArrayLike, target: ArrayLike) -> Overlap:
    """Count the voxels of two masks of the same shape.

    Args:
        prediction: 2D or 3D mask of zeros and ones.
        target: mask of the same shape.

    Returns:
        The counts.

    Raises:
        ValueError: either is not a mask, or their shapes differ; it names argument and value.

    Example:
        >>> overlap([[1, 1, 0, 0]], [[0, 1, 1, 1]]).dice
        0.4
    """
    masks = mask_pair(prediction, target)
    return count_voxels(*masks, total=masks[0].size)


def count_voxels(predicted: np.ndarray, true: np.ndarray, *, total: int) -> Overlap:
    """Count the voxels of two masks that are checked already.

    Args:
        predicted: boolean mask.
        true: boolean mask of the same shape.
        total: voxels of the image out of which both are cropped.

    Returns:
        The counts.
    """
    both = int(np.count_nonzero(predicted & true))
    return Overlap(both, int(np.count_nonzero(predicted)), int(np.count_nonzero(true)), total)


def burden(mask: ArrayLike, brain: ArrayLike) -> float:
    """Return the lesion's share of the brain: `|G| / |brain|` in voxels.

    0 to 1; a little above where the lesion leaves the brain.

    Args:
        mask: 2D or 3D mask, or label map: lesion is what is not 0.
        brain: mask of zeros and ones of the same shape.

    Returns:
        The share.

    Raises:
        ValueError: the brain is no mask, is empty, or has another shape.

    Example:
        >>> burden([[0, 1, 0, 0]], [[1, 1, 1, 1]])
        0.25
    """
    inside = as_mask(brain, name="brain")
    if inside.shape != np.shape(mask):
        raise ValueError(f"brain has shape {inside.shape} and target {np.shape(mask)}; expected the same grid")
    voxels = int(np.count_nonzero(inside))
    if not voxels:
        raise ValueError("brain is empty; expected at least one voxel")
    return int(np.count_nonzero(mask)) / voxels
