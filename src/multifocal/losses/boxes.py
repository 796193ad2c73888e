"""How near bounding boxes are to each other: Distance-IoU (Zheng 2020)."""

import numpy as np

from multifocal.instances import Instances

_BLOCK = 1 << 18  # pairs at a time, so that thousands of components need little memory


def nearest(true: Instances, predicted: Instances) -> tuple[np.ndarray, np.ndarray]:
    """Return for each lesion the least distance to a predicted component of its image, and the other way round.

    `D = 1 - IoU + ρ²/τ²`: ρ between the boxes' centres, τ the diagonal of the box around both. An image without
    components on a side has a cube of 3 voxels in its middle there.

    Example:
        >>> from multifocal.instances import label
        >>> here = label(np.array([[[1, 1, 0, 0]]], bool))
        >>> nearest(here, here)[0].tolist()
        [0.0]
    """
    to_predicted, to_true = np.zeros(true.total), np.zeros(predicted.total)
    for image, (n, m) in enumerate(zip(true.counts, predicted.counts, strict=True)):
        rows = slice(true.offsets[image], true.offsets[image] + n)
        columns = slice(predicted.offsets[image], predicted.offsets[image] + m)
        if not (n or m):
            continue
        left, right = _boxes(true, rows), _boxes(predicted, columns)
        least = np.full(right.shape[1], np.inf)
        step = max(1, _BLOCK // right.shape[1])
        for start in range(0, left.shape[1], step):
            distances = _distances(left[:, start : start + step, None], right[:, None])
            if n:
                to_predicted[rows][start : start + step] = distances.min(1)
            np.minimum(least, distances.min(0), out=least)
        if m:
            to_true[columns] = least
    return to_predicted, to_true


def _boxes(instances: Instances, which: slice) -> np.ndarray:
    """Return corners as (2 ndim, N): lower ones, then upper ones; the stand-in where there is none."""
    lower, upper = (corner[which] for corner in instances.boxes)
    if not len(lower):
        shape = np.array(instances.shape)
        lower = np.maximum((shape - 3) / 2, 0)[None]  # half voxels where a side is even: a flipped image has the same
        upper = np.minimum(lower + 3, shape)
    return np.concatenate([lower, upper], axis=1).T.astype(float)


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    ndim = len(left) // 2
    shared, one, other, apart, diagonal = np.ones(()), np.ones(()), np.ones(()), np.zeros(()), np.zeros(())
    for axis in range(ndim):
        a, b, c, d = left[axis], left[ndim + axis], right[axis], right[ndim + axis]
        shared = shared * np.maximum(np.minimum(b, d) - np.maximum(a, c), 0)
        one, other = one * (b - a), other * (d - c)
        apart = apart + np.square((a + b - c - d) / 2)
        diagonal = diagonal + np.square(np.maximum(b, d) - np.minimum(a, c))
    return 1 - shared / (one + other - shared) + apart / diagonal
