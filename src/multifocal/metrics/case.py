"""All metrics of one case in one call."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from multifocal.metrics.classes import Labels, chosen_classes, class_masks
from multifocal.metrics.lesions import Lesion, LesionScores, score_lesions
from multifocal.metrics.masks import as_labels, as_mask, as_spacing, check_pair, common_box
from multifocal.metrics.overlap import count
from multifocal.metrics.rules import Options, Rules
from multifocal.metrics.surface import distances_between


@dataclass(frozen=True, eq=False)
class CaseScores:
    """The metrics of a case by name, in the order of `METRICS`, and its two sides lesion by lesion."""

    metrics: dict[str, float]
    sides: LesionScores

    @cached_property
    def lesions(self) -> list[Lesion]:
        """The true lesions, then the false ones."""
        return self.sides.lesions()


@overload
def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: None = None,
    **options: Unpack[Options],
) -> dict[str, float]: ...


@overload
def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: Labels,
    **options: Unpack[Options],
) -> dict[str, dict[str, float]]: ...


def evaluate_case(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    spacing: Sequence[float],
    brain: ArrayLike | None = None,
    labels: Labels | None = None,
    **options: Unpack[Options],
) -> dict[str, float] | dict[str, dict[str, float]]:
    """Compare a predicted mask with the true one.

    Args:
        prediction: 2D or 3D mask of zeros and ones, boolean, integer or float.
        target: mask of the same shape.
        spacing: mm per voxel along each axis of the arrays; a 2D pixel counts as 1 mm thick.
        brain: mask of the same shape; adds `share_of_brain`, true lesion voxels over brain voxels.
        labels: for masks of several classes: label values by class name, see `multifocal.metrics.as_classes`. Each
            class is scored by itself.
        **options: the fields of `multifocal.metrics.Rules`: tolerance, convention, connectivity, min_size, matching,
            threshold, score, label_maps, protocol.

    Returns:
        The metrics of `multifocal.metrics.METRICS` by name, in that order; with `labels`, such a dict a class. NaN
        where a metric is undefined, by the table of empty masks in `multifocal.metrics.catalogue`.

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
    rules = Rules(**options)
    classes = chosen_classes(labels, rules=rules)
    if classes is None:
        return _with_share(score_case(prediction, target, spacing=spacing, rules=rules).metrics, target, brain)
    predicted = class_masks(prediction, classes=classes, name="prediction")
    true = class_masks(target, classes=classes, name="target")
    return {
        name: _with_share(
            score_case(predicted[name], true[name], spacing=spacing, rules=rules).metrics, true[name], brain
        )
        for name in classes
    }


def score_case(
    prediction: ArrayLike, target: ArrayLike, *, spacing: Sequence[float], rules: Rules | None = None
) -> CaseScores:
    """Compare as `evaluate_case` does, and return the lesions, too.

    Case level and lesion level share one crop to the common box of both masks.

    Raises:
        ValueError: as in `evaluate_case`.

    Example:
        >>> found = score_case([[1, 1, 0, 0]], [[0, 1, 0, 1]], spacing=(1.0, 2.0))
        >>> [(lesion.kind, lesion.centre, lesion.matched) for lesion in found.lesions]
        [('true', (0.0, 1.0), True), ('true', (0.0, 3.0), False)]
    """
    rules = rules or Rules()
    maps = (
        (as_labels if rules.predicts_label_maps else as_mask)(prediction, name="prediction"),
        (as_labels if rules.has_label_maps else as_mask)(target, name="target"),
    )
    check_pair(*maps)
    sides = as_spacing(spacing, ndim=maps[1].ndim)
    measured = rules.measured_spacing(sides)
    box = common_box(*maps)
    cropped = [np.ascontiguousarray(side[box]) for side in maps]
    masks = [side if side.dtype == np.bool_ else side > 0 for side in cropped]
    voxels = count(*masks, total=maps[1].size)
    surfaces = distances_between(*masks, spacing=measured, convention=rules.convention)
    voxel_ml = math.prod(sides) / 1000
    lesions = score_lesions(*cropped, offset=tuple(part.start for part in box), voxel_ml=voxel_ml, rules=rules)
    metrics = {
        "dice": voxels.dice,
        "masd": surfaces.masd,
        "nsd": surfaces.nsd(tolerance=rules.tolerance),
        "volume_difference": (voxels.predicted - voxels.true) * voxel_ml,
        "relative_volume_difference": voxels.relative_volume_difference,
        "hd95": surfaces.hd95,
        "assd": surfaces.assd,
        "sensitivity": voxels.sensitivity,
        "precision": voxels.precision,
        "specificity": voxels.specificity,
        "predicted_ml": voxels.predicted * voxel_ml,
        "true_ml": voxels.true * voxel_ml,
        **lesions.metrics,
    }
    return CaseScores(metrics, lesions)


def _with_share(metrics: dict[str, float], target: ArrayLike, brain: ArrayLike | None) -> dict[str, float]:
    if brain is None:
        return metrics
    inside = as_mask(brain, name="brain")
    if inside.shape != np.shape(target):
        raise ValueError(f"brain has shape {inside.shape} and target {np.shape(target)}; expected the same grid")
    voxels = int(np.count_nonzero(inside))
    if not voxels:
        raise ValueError("brain is empty; expected at least one voxel")
    return {**metrics, "share_of_brain": int(np.count_nonzero(target)) / voxels}
