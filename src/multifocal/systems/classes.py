"""From the probabilities of one class or several to one label image, on the case's own grid."""

from collections.abc import Sequence

import numpy as np

from multifocal.cohorts import Labels
from multifocal.systems.postprocess import Postprocess, postprocess, threshold_of
from multifocal.systems.system import Prediction
from multifocal.volumes import Volume


def segment(
    probabilities: Sequence[Volume], labels: Labels, settings: Postprocess, *, brain: np.ndarray | None = None
) -> Prediction:
    """Return the label image of the classes' probabilities.

    Where a lesion of any class is, `postprocess` says, of the probability of any: the sum over classes that are apart,
    the largest where they overlap. Which class a lesion's voxel is, `Labels.most_likely` says.

    Args:
        probabilities: of each class, float `(*spatial)` on one grid, in the order of `labels.names`.
        labels: what the values of the label image mean.
        settings: how to get from a probability to a mask.
        brain: bool `(*spatial)`, where the brain is; only looked at with `within_brain`.

    Returns:
        The label image, the probability of any class, and where there are several that of each.

    Raises:
        ValueError: `within_brain` without a brain, or a probability that is NaN or infinite.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((3, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> core, edema = Volume(np.array([[0.1], [0.5], [0.2]]), grid), Volume(np.array([[0.1], [0.4], [0.7]]), grid)
        >>> labels = Labels(classes={"core": (1, 4), "edema": (2,)})
        >>> segment([core, edema], labels, Postprocess()).mask.array.ravel().tolist()
        [0, 1, 2]
    """
    arrays, grid = [each.array for each in probabilities], probabilities[0].geometry
    if len(arrays) == 1:
        of_any = arrays[0]
    elif labels.overlap:
        of_any = np.maximum.reduce(arrays)
    else:
        of_any = np.minimum(np.add.reduce(arrays), np.float32(1))  # rounding may lead beyond 1
    mask, probability = postprocess(Volume(of_any, grid), settings, brain=brain)
    where = mask.array.astype(bool)
    codes = np.zeros(where.shape, np.uint8)
    threshold = threshold_of(probability.array, settings)
    codes[where] = labels.most_likely([array[where] for array in arrays], threshold=threshold)
    if len(arrays) == 1:
        return Prediction(Volume(labels.decode(codes), grid), probability)
    if settings.within_brain:
        arrays = [array * (brain != 0) for array in arrays]
    classes = {name: Volume(array, grid) for name, array in zip(labels.names, arrays, strict=True)}
    return Prediction(Volume(labels.decode(codes), grid), probability, classes)
