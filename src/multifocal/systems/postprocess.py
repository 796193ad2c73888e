"""From probability to mask, on the case's own grid: the one step that all systems share."""

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.limits import at_least
from multifocal.volumes import Volume

Share = Annotated[float, Field(gt=0, lt=1)]


class Postprocess(Config):
    """What stands between a probability and a mask.

    `M = {p >= threshold}`; with hysteresis the components of `{p >= hysteresis}` that hold a voxel of it; less the
    components smaller than the least size.

    Args:
        threshold: probability from which a voxel is lesion.
        hysteresis: lower probability down to which a lesion grows once a voxel of it reaches the threshold; None leaves
            it at those.
        min_size_ml: volume in ml; smaller components are dropped. Voxels that share a corner are one component.
        within_brain: whether the probability counts as 0 outside the brain.

    Raises:
        ValueError: hysteresis is above the threshold.

    Example:
        >>> Postprocess(min_size_ml=0.05).threshold
        0.5
    """

    threshold: Share = 0.5
    hysteresis: Share | None = None
    min_size_ml: float = Field(default=0.0, ge=0)
    within_brain: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Postprocess":
        check_thresholds(self.threshold, self.hysteresis)
        return self


def check_thresholds(threshold: float, hysteresis: float | None) -> None:
    """Raise `ValueError` for a lower threshold that is the higher one.

    Args:
        threshold: probability from which a voxel is lesion.
        hysteresis: probability down to which a lesion grows, or None.

    Example:
        >>> check_thresholds(0.5, 0.3)
    """
    if hysteresis is not None and hysteresis > threshold:
        raise ValueError(f"hysteresis={hysteresis} is above threshold={threshold}; expected it below")


def check_finite(array: np.ndarray, what: str) -> None:
    """Raise `UserError` where an array holds NaN or infinity: below every threshold, NaN would count as no lesion.

    Args:
        array: a mask, or probabilities.
        what: what it is, for the message.

    Raises:
        UserError: a value is NaN or infinite.

    Example:
        >>> check_finite(np.array([0.2, np.nan]), "the mean")
        Traceback (most recent call last):
        multifocal.errors.UserError: the mean holds NaN or infinity; the system it comes from is broken: train it again
    """
    if not np.isfinite(array).all():
        raise UserError(f"{what} holds NaN or infinity; the system it comes from is broken: train it again")


def postprocess(
    probability: Volume, settings: Postprocess, *, brain: np.ndarray | None = None
) -> tuple[Volume, Volume]:
    """Return the mask of a probability map, and the probability as it counts.

    Args:
        probability: float `(*spatial)` on the case's own grid.
        settings: how to get from one to the other.
        brain: bool `(*spatial)`, where the brain is; only looked at with `within_brain`.

    Returns:
        The mask, uint8, and the probability, 0 outside the brain with `within_brain`.

    Raises:
        ValueError: `within_brain` without a brain, or a probability that is NaN or infinite.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((5, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> map_ = Volume(np.array([[0.9], [0.4], [0.1], [0.4], [0.6]]), grid)
        >>> for settings in (Postprocess(), Postprocess(hysteresis=0.3), Postprocess(min_size_ml=0.002)):
        ...     postprocess(map_, settings)[0].array.ravel().tolist()
        [1, 0, 0, 0, 1]
        [1, 1, 0, 1, 1]
        [0, 0, 0, 0, 0]
    """
    check_finite(probability.array, "the probability")
    if settings.within_brain:
        if brain is None:
            raise ValueError("within_brain needs brain; expected a mask of the probability's grid")
        probability = Volume(probability.array * brain, probability.geometry)
    mask = probability.array >= settings.threshold
    if settings.hysteresis is not None:
        labels, count = components(probability.array >= settings.hysteresis)
        kept = np.zeros(count + 1, bool)
        kept[labels[mask]] = True
        mask = kept[labels]
    if settings.min_size_ml:
        mask = _without_small(mask, settings.min_size_ml / probability.geometry.voxel_ml)
    return Volume(mask.astype(np.uint8), probability.geometry), probability


def _without_small(mask: np.ndarray, least: float) -> np.ndarray:
    """Return the components of at least so many voxels."""
    labels, count = components(mask)
    kept = at_least(np.bincount(labels.ravel(), minlength=count + 1), least)
    kept[0] = False
    return kept[labels]
