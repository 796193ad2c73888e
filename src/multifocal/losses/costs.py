"""Criteria that are means over voxels: cross-entropy, focal, and distance-weighted errors."""

from dataclasses import dataclass
from typing import Literal

import torch

from multifocal.losses.checked import Checked, NonNegative, Positive, Share
from multifocal.losses.criteria import Criterion, Sums
from multifocal.losses.quantities import CE, FocalOf, HausdorffOf, Quantity


class _Mean(Checked, Criterion):
    """The mean of one quantity."""

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return (sums.others[self.quantities[0]] / sums.size).mean(1)


@dataclass(frozen=True)
class CrossEntropy(_Mean):
    """Mean of `-y log p - (1-y) log(1-p)`; with softmax, over the image, `-Σ_c y_c log p_c`.

    Example:
        >>> round(float(CrossEntropy()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.693
    """

    name = "ce"
    quantities = (CE,)


@dataclass(frozen=True)
class Focal(_Mean):
    """Mean of `-|p-y|^γ log(1 - |p-y|)` (Lin 2017); with softmax, over the image, of the target's class alone.

    Args:
        gamma: γ.
        alpha: weight of the foreground, `1 - alpha` that of the background; None weighs neither.

    Example:
        >>> round(float(Focal(gamma=2.0)(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.173
    """

    name = "focal"
    gamma: NonNegative = 2.0
    alpha: Share | None = None

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return (FocalOf(self.gamma, self.alpha),)


@dataclass(frozen=True)
class Hausdorff(_Mean):
    """Mean of `(p-y)² (d_p^α + d_y^α)`, with distances to the border of each side (Karimi & Salcudean 2019).

    Args:
        alpha: α.
        empty: an image whose target has no border, where MONAI's distance is zero ("zero"): "diagonal" puts the
            image's diagonal, so that a false positive costs.

    Example:
        >>> target, logits = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), -9.0)
        >>> logits[..., :2] = 9.0
        >>> [round(float(Hausdorff(empty=kind)(logits, target)), 1) for kind in ("diagonal", "zero")]
        [17.2, 1.2]
    """

    name = "hausdorff-dt"
    alpha: Positive = 2.0
    empty: Literal["diagonal", "zero"] = "diagonal"

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return (HausdorffOf(self.alpha, self.empty),)


@dataclass(frozen=True)
class LogHausdorff(Hausdorff):
    """`log(1 + HDT)`, of the batch's mean.

    Example:
        >>> target = torch.zeros(1, 1, 4, 4)
        >>> target[..., :2] = 1
        >>> round(float(LogHausdorff()(9 - 18 * target, target)), 2)
        1.79
    """

    name = "log-hausdorff-dt"

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch."""
        return torch.log(1 + mean)
