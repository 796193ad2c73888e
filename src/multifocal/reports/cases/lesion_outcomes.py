"""What became of every lesion: found, missed, or only thought to be there, by the rules that it was scored by."""

from collections.abc import Sequence

import numpy as np

from multifocal.metrics import MaskPair, ScoringOptions

FOUND, MISSED, FALSE = 1, 2, 3
KINDS = {FOUND: "found", MISSED: "missed", FALSE: "false"}


def lesion_outcomes(
    prediction: np.ndarray, target: np.ndarray, *, spacing: Sequence[float], options: ScoringOptions
) -> np.ndarray:
    """Colour the voxels of both masks by lesion.

    A true lesion that a predicted one matches is found, with the predicted ones that match it; the others are missed,
    or false. Lesions that scoring leaves out for their size have no colour: they are in no tally either.

    Args:
        prediction: predicted mask or, where the options say so, label map, `(X, Y, Z)`.
        target: the same of the truth.
        spacing: mm per voxel along each axis.
        options: how the case was scored.

    Returns:
        uint8 of the same shape: FOUND, MISSED or FALSE, 0 elsewhere.

    Example:
        >>> masks = np.array([[0, 1, 0, 0, 0, 1]]), np.array([[1, 1, 0, 1, 0, 0]])
        >>> lesion_outcomes(*masks, spacing=(1.0, 1.0), options=ScoringOptions()).tolist()
        [[1, 1, 0, 2, 0, 3]]
    """
    scores = MaskPair.of(prediction, target, spacing=spacing, options=options).lesions
    predicted, true = scores.prediction.dense()[0], scores.target.dense()[0]
    is_right, is_found = (np.append(False, marks) for marks in (scores.matches.is_right, scores.matches.is_found))
    colours = np.zeros(np.shape(target), np.uint8)
    box = tuple(slice(start, start + size) for start, size in zip(scores.offset, true.shape, strict=True))
    found = is_found[true] | is_right[predicted]
    colours[box] = np.select([found, true > 0, predicted > 0], [FOUND, MISSED, FALSE], 0)
    return colours
