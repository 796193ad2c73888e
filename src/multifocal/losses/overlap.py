"""Criteria of overlap: ratios of Σpy, Σp and Σy.

A region in which nothing is true costs 1 as soon as anything is predicted there, whatever is done about it: its
gradient is that of its mean p, unless a loss is built with `relaxed=False`.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch

from multifocal.losses.checked import Checked, NonNegative, Positive
from multifocal.losses.criteria import Criterion, Sums
from multifocal.losses.relaxation import where_empty

SMOOTH = 1e-5  # MONAI's


class _Ratio(Checked, Criterion):
    """A criterion of each channel by itself."""

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return where_empty(1 - self._ratio(sums), sums, sums.true == 0).mean(1)

    @abstractmethod
    def _ratio(self, sums: Sums) -> torch.Tensor:
        """Return what is 1 where all is right, (regions, channels)."""


@dataclass(frozen=True)
class Dice(_Ratio):
    """`1 - (2Σpy + s) / (Σp + Σy + s)` (Milletari 2016).

    Args:
        smooth: s, MONAI's 1e-5.

    Example:
        >>> round(float(Dice()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.333
    """

    name = "dice"
    smooth: Positive = SMOOTH

    def _ratio(self, sums: Sums) -> torch.Tensor:
        return (2 * sums.overlap + self.smooth) / (sums.predicted + sums.true + self.smooth)


@dataclass(frozen=True)
class Jaccard(_Ratio):
    """`1 - (Σpy + s) / (Σp + Σy - Σpy + s)`.

    Args:
        smooth: s. MONAI's form of Jaccard smooths twice the sums: its s is two of these.

    Example:
        >>> round(float(Jaccard()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.5
    """

    name = "jaccard"
    smooth: Positive = SMOOTH

    def _ratio(self, sums: Sums) -> torch.Tensor:
        union = sums.predicted + sums.true - sums.overlap
        return (sums.overlap + self.smooth) / (union + self.smooth)


@dataclass(frozen=True)
class Tversky(_Ratio):
    """`1 - (Σpy + s) / (Σpy + α Σp(1-y) + β Σ(1-p)y + s)` (Salehi 2017).

    Args:
        alpha: α, the weight of false positives.
        beta: β, the weight of false negatives.
        smooth: s, MONAI's 1e-5.

    Example:
        >>> round(float(Tversky(alpha=0.3, beta=0.7)(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.412
    """

    name = "tversky"
    alpha: NonNegative = 0.3
    beta: NonNegative = 0.7
    smooth: Positive = SMOOTH

    def _ratio(self, sums: Sums) -> torch.Tensor:
        false = self.alpha * (sums.predicted - sums.overlap)
        missed = self.beta * (sums.true - sums.overlap)
        return (sums.overlap + self.smooth) / (sums.overlap + false + missed + self.smooth)


@dataclass(frozen=True)
class GeneralizedDice(Checked, Criterion):
    """`1 - (2 Σ_c w_c Σpy + s) / (Σ_c w_c (Σp + Σy) + s)`, `w_c = 1/(Σy)²` over the channels c (Sudre 2017).

    Args:
        weighting: "monai" as MONAI computes it. With one channel its weight only dwarfs the smoothing: a lesion of
            100 000 voxels missed whole costs 0.5, and an empty target 0. "normalized" divides the weights by their
            sum, with `w_c = 1/max(Σy, 1)²`: one channel is plain Dice, and an empty target costs 1 as soon as
            anything is predicted.
        smooth: s, MONAI's 1e-5.

    Example:
        >>> missed = torch.full((1, 1, 400, 400), -20.0), torch.ones(1, 1, 400, 400)
        >>> [round(float(GeneralizedDice(weighting=kind)(*missed)), 1) for kind in ("monai", "normalized")]
        [0.4, 1.0]
    """

    name = "generalized-dice"
    weighting: Literal["monai", "normalized"] = "monai"
    smooth: Positive = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        both = sums.predicted + sums.true
        if self.weighting == "normalized":
            weight = 1 / sums.true.clamp_min(1).square()
            weight = weight / weight.sum(1, keepdim=True)
        else:
            weight = torch.where(sums.true > 0, 1 / sums.true.clamp_min(0.5).square(), 0)
            weight = torch.where(sums.true > 0, weight, weight.amax(1, keepdim=True))
        ratio = (2 * (sums.overlap * weight).sum(1) + self.smooth) / ((both * weight).sum(1) + self.smooth)
        return where_empty(1 - ratio, sums, (sums.true == 0).all(1))
