"""The contingency of two labelings: which predicted and true components share voxels, and which."""

from dataclasses import dataclass

import numpy as np

from multifocal.instances.instances import Instances

# Above this many possible pairs per voxel a sort of the voxels costs less than a table of the pairs.
_TABLE_PER_VOXEL = 8


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs (predicted component m, true component n) that share a voxel, with 0 for background on one side.

    Args:
        voxels: int64, ascending: the voxels that belong to a component of either side.
        pair: int64: for each of them its pair.
        prediction: for each pair, m (counted through the batch from 1, 0 for background).
        target: for each pair, n.

    Example:
        >>> from multifocal.instances import label
        >>> sides = [label(np.array([[row]], bool)) for row in ([1, 1, 0], [0, 1, 1])]
        >>> found = pairs(*sides)
        >>> [(int(m), int(n)) for m, n in zip(found.prediction, found.target)], found.pair.tolist()
        ([(0, 1), (1, 0), (1, 1)], [1, 2, 0])
    """

    voxels: np.ndarray
    pair: np.ndarray
    prediction: np.ndarray
    target: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Voxels of each pair."""
        return np.bincount(self.pair, minlength=len(self.target))


def pairs(prediction: Instances, target: Instances) -> Pairs:
    """Return which components of two labelings of the same images share voxels, and where.

    Args:
        prediction: the predicted components.
        target: the true ones, of images of the same shape.

    Returns:
        The pairs, and for each voxel of either side which one it belongs to.

    Example:
        >>> from multifocal.instances import label
        >>> found = pairs(label(np.array([[[1, 1, 0]]], bool)), label(np.array([[[0, 1, 0]]], bool)))
        >>> found.prediction.tolist(), found.target.tolist(), found.counts.tolist()
        ([1, 1], [0, 1], [1, 1])
    """
    from multifocal.kernels.sums import union

    voxels, m, n = union(prediction.voxels, prediction.labels, target.voxels, target.labels)
    return Pairs(voxels, *_number(m, n, prediction, target))


def _number(
    m: np.ndarray, n: np.ndarray, prediction: Instances, target: Instances
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each voxel's pair and the two labels of each pair."""
    predicted, true = prediction.total, target.total
    # Codes: 1..N for (0, n), then (m, 0), then a table of m x n for each image.
    tables = np.concatenate([[0], np.cumsum(prediction.counts * target.counts)])
    code = np.where(m == 0, n, true + m)
    both = np.flatnonzero((m > 0) & (n > 0))
    if both.size:
        image = prediction.image[m[both] - 1]
        row = m[both] - 1 - prediction.offsets[image]
        column = n[both] - 1 - target.offsets[image]
        code[both] = 1 + true + predicted + tables[image] + row * target.counts[image] + column
    length = 1 + true + predicted + int(tables[-1])
    if length <= max(1024, _TABLE_PER_VOXEL * len(code)):
        seen = np.zeros(length, bool)
        seen[code] = True
        codes = np.flatnonzero(seen)
        number = np.cumsum(seen) - 1
        pair = number[code]
    else:
        codes, pair = np.unique(code, return_inverse=True)
    first = np.zeros(len(codes), np.int64)
    first[pair] = np.arange(len(code))
    return pair.reshape(-1).astype(np.int64), m[first], n[first]
