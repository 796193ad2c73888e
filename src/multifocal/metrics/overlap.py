"""How many voxels prediction and target share."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from multifocal.metrics.masks import mask_pair


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a prediction against its target, and what follows from them.

    A quotient of 0 / 0 is undefined (NaN), but two empty masks agree perfectly: they score 1.
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

    Raises:
        ValueError: see `multifocal.metrics.masks`.

    Example:
        >>> overlap([[1, 1, 0, 0]], [[0, 1, 1, 1]]).dice
        0.4
    """
    masks = mask_pair(prediction, target)
    return count(*masks, total=masks[0].size)


def count(predicted: np.ndarray, true: np.ndarray, *, total: int) -> Overlap:
    """Count as `overlap` does, on boolean masks that are checked, cropped out of an image of `total` voxels."""
    both = int(np.count_nonzero(predicted & true))
    return Overlap(both, int(np.count_nonzero(predicted)), int(np.count_nonzero(true)), total)
