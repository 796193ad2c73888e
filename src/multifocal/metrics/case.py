"""All metrics of one case in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from multifocal.metrics.classes import Labels, chosen_classes, class_masks
from multifocal.metrics.lesions import Lesion
from multifocal.metrics.mask_pair import MaskPair
from multifocal.metrics.metric import METRICS
from multifocal.metrics.overlap import burden
from multifocal.metrics.scoring_options import ScoringKwargs, ScoringOptions
from multifocal.metrics.validation import without_ignored


@dataclass(frozen=True, eq=False)
class CaseScores:
    """What one case scores.

    Attributes:
        metrics: every metric by name, in the order of `METRICS`; NaN where it is undefined.
        pair: the masks, with what the metrics were computed from.

    Example:
        >>> found = score_case([[1, 1, 0, 0]], [[0, 1, 0, 1]], spacing=(1.0, 2.0))
        >>> found.metrics["dice"], len(found.lesions)
        (0.5, 2)
    """

    metrics: dict[str, float]
    pair: MaskPair

    @cached_property
    def lesions(self) -> list[Lesion]:
        """Measure the true lesions, then the false ones.

        Returns:
            Each with its volume, place and best match.
        """
        return self.pair.lesions.lesions()


@overload
def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: None = None,
    ignore: ArrayLike | int | None = None,
    **options: Unpack[ScoringKwargs],
) -> dict[str, float]: ...


@overload
def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: Labels,
    ignore: ArrayLike | int | None = None,
    **options: Unpack[ScoringKwargs],
) -> dict[str, dict[str, float]]: ...


def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: Labels | None = None,
    ignore: ArrayLike | int | None = None,
    **options: Unpack[ScoringKwargs],
) -> dict[str, float] | dict[str, dict[str, float]]:
    """Compare a predicted mask with the true one.

    Args:
        prediction: 2D or 3D mask of zeros and ones, boolean, integer or float.
        target: mask of the same shape.
        spacing: mm per voxel along each axis of the arrays; a 2D pixel counts as 1 mm thick.
        brain: mask of the same shape; adds `share_of_brain`, true lesion voxels over brain voxels.
        labels: for masks of several classes: label values by class name, see `multifocal.metrics.as_classes`. Each
            class is scored by itself.
        ignore: the target's value, above 1, of voxels that are in no mask, no volume, no component and no surface, nor
            in the brain, as if the image ended before them; or a mask of them, of the same shape; None for none.
        **options: fields of `multifocal.metrics.ScoringOptions`: tolerance, convention, connectivity, min_size,
            matching, threshold, strict, score, label_maps, protocol.

    Returns:
        The metrics of `multifocal.metrics.METRICS` by name, in that order; with `labels`, such a dict a class. NaN
        where a metric is undefined, by the table of empty masks in `multifocal.metrics.metric`.

    Raises:
        ValueError: an argument is not valid; the message names it, its value and what is expected.

    Example:
        >>> import numpy as np
        >>> target = np.zeros((8, 8, 8), bool)
        >>> target[2:6, 2:6, 2:6] = True
        >>> scores = evaluate_case(np.roll(target, 1, axis=0), target, spacing=(1.0, 1.0, 4.0))
        >>> scores["dice"], scores["nsd"], scores["true_ml"], round(scores["masd"], 3), scores["f1"]
        (0.75, 1.0, 0.256, 0.415, 1.0)
        >>> evaluate_case(2 * target, 2 * target, spacing=(1.0, 1.0, 4.0), labels={"edema": 2})["edema"]["dice"]
        1.0
    """
    scoring = ScoringOptions(**options)
    classes = chosen_classes(labels, options=scoring)
    prediction, target, ignored = without_ignored(prediction, target, ignore)
    if classes is None:
        found = score_case(prediction, target, spacing=spacing, options=scoring, ignore=ignored).metrics
        return _with_burden(found, target, brain, ignored)
    predicted = class_masks(prediction, classes=classes, name="prediction")
    true = class_masks(target, classes=classes, name="target")
    return {
        name: _with_burden(
            score_case(predicted[name], true[name], spacing=spacing, options=scoring, ignore=ignored).metrics,
            true[name],
            brain,
            ignored,
        )
        for name in classes
    }


def score_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    options: ScoringOptions | None = None,
    ignore: ArrayLike | int | None = None,
) -> CaseScores:
    """Compare a predicted mask with the true one, and return the lesions, too.

    Case level and lesion level share one crop to the common box of both masks.

    Args:
        prediction: 2D or 3D mask of zeros and ones; a label map where the options say so.
        target: the same of the truth, of the same shape.
        spacing: mm per voxel along each axis of the arrays; a 2D pixel counts as 1 mm thick.
        options: how to score; None takes the defaults.
        ignore: the target's value of voxels that count nowhere, or a mask of them; see `MaskPair.of`.

    Returns:
        Every metric of `METRICS`, and the lesions.

    Raises:
        ValueError: an argument is not valid; the message names it, its value and what is expected.

    Example:
        >>> found = score_case([[1, 1, 0, 0]], [[0, 1, 0, 1]], spacing=(1.0, 2.0))
        >>> [(lesion.kind, lesion.centre, lesion.matched) for lesion in found.lesions]
        [('true', (0.0, 1.0), True), ('true', (0.0, 3.0), False)]
    """
    pair = MaskPair.of(prediction, target, spacing=spacing, options=options, ignore=ignore)
    return CaseScores({name: metric.function(pair) for name, metric in METRICS.items()}, pair)


def _with_burden(
    metrics: dict[str, float], target: ArrayLike, brain: ArrayLike | None, ignored: np.ndarray | None
) -> dict[str, float]:
    if brain is None:
        return metrics
    if ignored is not None and np.shape(brain) == ignored.shape:  # another shape is refused
        brain = np.where(ignored, 0, brain)
    return {**metrics, "share_of_brain": burden(target, brain)}
