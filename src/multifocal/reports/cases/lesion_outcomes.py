"""What became of every lesion: found, missed, or only thought to be there."""

import numpy as np

from multifocal.instances import components

FOUND, MISSED, FALSE = 1, 2, 3
KINDS = {FOUND: "found", MISSED: "missed", FALSE: "false"}


def detection(lesions: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colour the voxels of both masks by lesion: FOUND, MISSED or FALSE, 0 elsewhere (uint8, same shape).

    A true lesion that any predicted voxel touches is found, with the predicted ones that touch it; the others are
    missed, or false.

    Args:
        lesions: true lesions, 0 is background.
        mask: the predicted mask.

    Example:
        >>> detection(np.array([[1, 1, 0, 2, 0, 0]]), np.array([[0, 1, 0, 0, 0, 1]], bool)).tolist()
        [[1, 1, 0, 2, 0, 3]]
    """
    predicted, _ = components(mask)
    found = np.isin(lesions, _touched(lesions, mask)) | np.isin(predicted, _touched(predicted, lesions > 0))
    return np.select([found, lesions > 0, mask], [FOUND, MISSED, FALSE], 0).astype(np.uint8)


def _touched(labels: np.ndarray, by: np.ndarray) -> np.ndarray:
    touched = np.unique(labels[by])
    return touched[touched > 0]
