"""From probability to mask, on the case's own grid: the one step that all systems share."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy import special

from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.limits import at_least
from multifocal.volumes import Volume

Share = Annotated[float, Field(gt=0, lt=1)]
Threshold = Share | Literal["dice"]


class MaskSettings(Config):
    """What stands between the probability of a voxel and a mask, on one volume.

    Each step goes by what the one before it left: `temperature`, `threshold`, `hysteresis`, the least sizes, and
    `largest_only`. Voxels that share a corner are one component.

    Args:
        threshold: probability from which a voxel is lesion: `M = {p >= threshold}`; "dice" finds it for each volume, as
            the one with the greatest expected Dice, see `dice_threshold`.
        hysteresis: lower probability down to which a lesion grows once a voxel of it reaches the threshold: the
            components of `{p >= hysteresis}` that hold a voxel of `M`. None leaves it at those.
        min_size_ml: volume in ml; smaller components are dropped.
        min_size_voxels: number of voxels; smaller components are dropped.
        min_size_dimensions: 3 takes the components of the volume, 2 those of each axial slice, a slice at a time.
        largest_only: whether only the component of the volume with the most voxels is kept, the first of equal ones.
        temperature: what the log-odds are divided by before all else, see `calibrated`.

    Raises:
        ValueError: hysteresis is above the threshold, or beside one that is found for each volume.

    Example:
        >>> MaskSettings(min_size_voxels=3).threshold
        0.5
    """

    threshold: Threshold = 0.5
    hysteresis: Share | None = None
    min_size_ml: float = Field(default=0.0, ge=0)
    min_size_voxels: int = Field(default=0, ge=0)
    min_size_dimensions: Literal[2, 3] = 3
    largest_only: bool = False
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _check(self) -> "MaskSettings":
        check_thresholds(self.threshold, self.hysteresis)
        return self


class Postprocess(MaskSettings):
    """What stands between a probability and a mask; the brain comes after the temperature, before the threshold.

    Args:
        threshold: see `MaskSettings`.
        hysteresis: see `MaskSettings`.
        min_size_ml: see `MaskSettings`.
        min_size_voxels: see `MaskSettings`.
        min_size_dimensions: see `MaskSettings`.
        largest_only: see `MaskSettings`.
        temperature: see `MaskSettings`.
        within_brain: whether the probability counts as 0 outside the brain.

    Raises:
        ValueError: hysteresis is above the threshold, or beside one that is found for each volume.

    Example:
        >>> Postprocess(min_size_ml=0.05).threshold
        0.5
    """

    within_brain: bool = False


def fits(threshold: float | str, hysteresis: float | None) -> bool:
    """Return whether a lower threshold is below the other, which one that is found for each volume need not be.

    Args:
        threshold: probability from which a voxel is lesion, or "dice".
        hysteresis: probability down to which a lesion grows, or None.

    Returns:
        Whether it is.

    Example:
        >>> fits(0.5, 0.3), fits("dice", None), fits("dice", 0.3)
        (True, True, False)
    """
    return hysteresis is None or (not isinstance(threshold, str) and hysteresis <= threshold)


def check_thresholds(threshold: float | str, hysteresis: float | None) -> None:
    """Raise `ValueError` where the lower threshold may be the higher one.

    Args:
        threshold: probability from which a voxel is lesion, or "dice".
        hysteresis: probability down to which a lesion grows, or None.

    Example:
        >>> check_thresholds(0.5, 0.3)
    """
    if not fits(threshold, hysteresis):
        why = f"is above threshold={threshold}; expected it below"
        if isinstance(threshold, str):
            why = f"stands beside threshold: {threshold}, which is another one for each volume; leave one of them out"
        raise ValueError(f"hysteresis={hysteresis} {why}")


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
        The mask, uint8, and the probability: calibrated, and 0 outside the brain with `within_brain`.

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
    counts = calibrated(probability.array, settings.temperature)
    if settings.within_brain:
        if brain is None:
            raise ValueError("within_brain needs brain; expected a mask of the probability's grid")
        counts = counts * brain
    grid = probability.geometry
    uncalibrated = settings.model_copy(update={"temperature": 1.0})
    mask = binarize(counts, uncalibrated, voxel_ml=grid.voxel_ml, axial=grid.axial)
    return Volume(mask, grid), Volume(counts, grid)


def binarize(probability: np.ndarray, settings: MaskSettings, *, voxel_ml: float, axial: int = -1) -> np.ndarray:
    """Return the mask of one array of probabilities.

    Args:
        probability: `(*spatial)`, 2D or 3D, without NaN.
        settings: how to get from one to the other.
        voxel_ml: volume of a voxel in ml.
        axial: the axis of a 3D array along which axial slices lie; only looked at with `min_size_dimensions` 2.

    Returns:
        The mask, uint8, of the same shape.

    Example:
        >>> flat = np.array([[0.9, 0.1, 0.4, 0.8, 0.8]])
        >>> binarize(flat, MaskSettings(largest_only=True), voxel_ml=1.0).tolist()
        [[0, 0, 0, 1, 1]]
    """
    probability = calibrated(probability, settings.temperature)
    mask = probability >= threshold_of(probability, settings)
    if settings.hysteresis is not None:
        labels, count = components(probability >= settings.hysteresis)
        kept = np.zeros(count + 1, bool)
        kept[labels[mask]] = True
        mask = kept[labels]
    if settings.min_size_ml or settings.min_size_voxels:
        least = max(settings.min_size_ml / voxel_ml, settings.min_size_voxels)
        if settings.min_size_dimensions == 2 and mask.ndim == 3:
            slices = np.moveaxis(mask, axial, 0)
            mask = np.moveaxis(np.stack([_without_small(each, least) for each in slices]), 0, axial)
        else:
            mask = _without_small(mask, least)
    if settings.largest_only:
        labels, count = components(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        mask = labels == 1 + int(np.argmax(sizes)) if count else mask
    return np.ascontiguousarray(mask, np.uint8)


def threshold_of(probability: np.ndarray, settings: MaskSettings) -> float:
    """Return the threshold of a volume: the settings' number, or the one that is found for it.

    Args:
        probability: of any shape, calibrated, 0 where nothing counts.
        settings: which say one or the other.

    Returns:
        The threshold, above 0.

    Example:
        >>> unsure = np.array([0.2, 0.02])
        >>> threshold_of(unsure, MaskSettings()), threshold_of(unsure, MaskSettings(threshold="dice"))
        (0.5, 0.2)
    """
    return dice_threshold(probability) if isinstance(settings.threshold, str) else settings.threshold


def dice_threshold(probability: np.ndarray) -> float:
    """Return the threshold whose mask has the greatest expected Dice, if the probabilities are right.

    `argmax_t 2 Σ_{p >= t} p / (|{p >= t}| + Σ p)`, the ratio of the expected values. It is half of that Dice: low where
    little is certain, so that a lesion of which the system is unsure is still shown if it is all that there is.

    Args:
        probability: of any shape, from 0 to 1.

    Returns:
        One of the probabilities, the greatest of equal ones; 1 where all are 0 or there is none.

    Source:
        Lipton, Elkan, Naryanaswamy 2014, arXiv:1402.1892, theorem 1; Dai, Li, JMLR 24:224 (2023).

    Example:
        >>> dice_threshold(np.array([0.0, 0.9, 0.8, 0.1])), dice_threshold(np.array([0.0, 0.2, 0.02]))
        (0.8, 0.2)
    """
    values = np.sort(probability[probability > 0].astype(np.float64))[::-1]
    if not values.size:
        return 1.0
    held = np.cumsum(values)
    expected = 2 * held / (np.arange(1, len(values) + 1) + held[-1])
    return float(values[np.argmax(expected)])


def calibrated(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities whose log-odds are divided by a temperature.

    `p' = sigmoid(logit(p) / T)`: above 1 they come nearer to 0.5, which stays where it is, below 1 nearer to 0 and 1.

    Args:
        probability: from 0 to 1, any shape.
        temperature: T, above 0; 1 returns the array itself.

    Returns:
        The probabilities, of the same shape.

    Source:
        Guo, Pleiss, Sun, Weinberger 2017, On calibration of modern neural networks, section 4.2.

    Example:
        >>> calibrated(np.array([0.0, 0.2, 0.5, 1.0]), 0.5).round(3).tolist()
        [0.0, 0.059, 0.5, 1.0]
    """
    if temperature == 1.0:
        return probability
    wide = np.clip(probability, 0.0, 1.0, dtype=np.float64)  # interpolation may step over 1 by a rounding
    with np.errstate(divide="ignore"):  # the log-odds of 0 and 1 are infinite, and stay so
        odds = (np.log(wide) - np.log1p(-wide)) / temperature
    return np.asarray(special.expit(odds), probability.dtype)


def _without_small(mask: np.ndarray, least: float) -> np.ndarray:
    """Return the components of at least so many voxels."""
    labels, count = components(mask)
    kept = at_least(np.bincount(labels.ravel(), minlength=count + 1), least)
    kept[0] = False
    return kept[labels]
