"""What is measured: criteria as functions of sums over a region."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from multifocal.losses.algebra import Term
from multifocal.losses.quantities import CE, FocalOf, HausdorffOf, P, Quantity

if TYPE_CHECKING:
    from multifocal.losses.scene import Scene

SMOOTH = 1e-5  # MONAI's


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over regions, each of shape (regions, channels).

    `overlap` is Σpy, `predicted` Σp, `true` Σy; `others` holds the sums of other quantities, and `size` the voxels
    that their means are over.
    """

    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    others: Mapping[Quantity, torch.Tensor]
    size: torch.Tensor | float


class Criterion(Term):
    """A loss of a region, from sums over it. Over the whole image unless `over` says otherwise.

    Criteria are losses themselves: `criterion(logits, target)`, and parts of sums:
    `0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()`.
    """

    quantities: tuple[Quantity, ...] = (P,)

    @abstractmethod
    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region, (regions,): the mean over channels."""

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch from the mean over its regions."""
        return mean

    def over(self, partition: str, **options: Any) -> Term:
        """Return the criterion over regions of the image: see `multifocal.losses.partitions`."""
        from multifocal.losses.partitions import Over, partition_named

        return Over(self, partition_named(partition, **options))

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        return self.quantities, False

    def measure(self, scene: "Scene") -> torch.Tensor:
        """Return the criterion over the whole image."""
        return self.over("image").measure(scene)


@dataclass(frozen=True)
class Dice(Criterion):
    """`1 - (2Σpy + s) / (Σp + Σy + s)` (Milletari 2016).

    Args:
        smooth: s, MONAI's 1e-5.
    """

    name = "dice"
    smooth: float = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        ratio = (2 * sums.overlap + self.smooth) / (sums.predicted + sums.true + self.smooth)
        return (1 - ratio).mean(1)


@dataclass(frozen=True)
class Jaccard(Criterion):
    """`1 - (Σpy + s) / (Σp + Σy - Σpy + s)`.

    Args:
        smooth: s. MONAI's form of Jaccard smooths twice the sums: its s is two of these.
    """

    name = "jaccard"
    smooth: float = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        union = sums.predicted + sums.true - sums.overlap
        return (1 - (sums.overlap + self.smooth) / (union + self.smooth)).mean(1)


@dataclass(frozen=True)
class Tversky(Criterion):
    """`1 - (Σpy + s) / (Σpy + α Σp(1-y) + β Σ(1-p)y + s)` (Salehi 2017).

    Args:
        alpha: α, the weight of false positives.
        beta: β, the weight of false negatives.
        smooth: s, MONAI's 1e-5.
    """

    name = "tversky"
    alpha: float = 0.3
    beta: float = 0.7
    smooth: float = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        false = self.alpha * (sums.predicted - sums.overlap)
        missed = self.beta * (sums.true - sums.overlap)
        ratio = (sums.overlap + self.smooth) / (sums.overlap + false + missed + self.smooth)
        return (1 - ratio).mean(1)


@dataclass(frozen=True)
class GeneralizedDice(Criterion):
    """`1 - (2 Σ_c w_c Σpy + s) / (Σ_c w_c (Σp + Σy) + s)`, `w_c = 1/(Σy)²` over the channels c (Sudre 2017).

    Args:
        weighting: "monai" as MONAI computes it. With one channel its weight only dwarfs the smoothing: a lesion of
            100 000 voxels missed whole costs 0.5. There an empty target costs 0; its gradient is that of plain Dice,
            where MONAI's is zero. "normalized" divides the weights by their sum, with `w_c = 1/max(Σy, 1)²`: one
            channel is plain Dice, and an empty target costs what is predicted.
        smooth: s, MONAI's 1e-5.
    """

    name = "generalized-dice"
    weighting: Literal["monai", "normalized"] = "monai"
    smooth: float = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        both = sums.predicted + sums.true
        if self.weighting == "normalized":
            weight = 1 / sums.true.clamp_min(1).square()
            return self._loss(sums.overlap, both, weight / weight.sum(1, keepdim=True))
        weight = torch.where(sums.true > 0, 1 / sums.true.clamp_min(0.5).square(), 0)
        largest = weight.amax(1, keepdim=True)
        weight = torch.where(sums.true > 0, weight, largest)
        value = self._loss(sums.overlap, both, weight)
        relaxed = self._loss(sums.overlap, both, torch.ones_like(weight))
        return torch.where(largest[:, 0] > 0, value, value.detach() + relaxed - relaxed.detach())

    def _loss(self, overlap: torch.Tensor, both: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return 1 - (2 * (overlap * weight).sum(1) + self.smooth) / ((both * weight).sum(1) + self.smooth)


@dataclass(frozen=True)
class CrossEntropy(Criterion):
    """Mean of `-y log p - (1-y) log(1-p)`; with softmax `-Σ_c y_c log p_c`."""

    name = "ce"
    quantities = (CE,)

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return (sums.others[CE] / sums.size).mean(1)


@dataclass(frozen=True)
class Focal(Criterion):
    """Mean of `-|p-y|^γ log(1 - |p-y|)` (Lin 2017); with softmax of the target's class alone, as MONAI.

    Args:
        gamma: γ.
        alpha: weight of the foreground, `1 - alpha` that of the background; None weighs neither.
    """

    name = "focal"
    gamma: float = 2.0
    alpha: float | None = None

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return (FocalOf(self.gamma, self.alpha),)

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return (sums.others[self.quantities[0]] / sums.size).mean(1)


@dataclass(frozen=True)
class Hausdorff(Criterion):
    """Mean of `(p-y)² (d_p^α + d_y^α)`, with distances to the border of each side (Karimi & Salcudean 2019).

    Args:
        alpha: α.
        empty: an image whose target has no border, where MONAI's distance is zero ("zero"): "diagonal" puts the
            image's diagonal, so that a false positive costs.
    """

    name = "hausdorff-dt"
    alpha: float = 2.0
    empty: Literal["diagonal", "zero"] = "diagonal"

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return (HausdorffOf(self.alpha, self.empty),)

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return (sums.others[self.quantities[0]] / sums.size).mean(1)


@dataclass(frozen=True)
class LogHausdorff(Hausdorff):
    """`log(1 + HDT)`, of the batch's mean."""

    name = "log-hausdorff-dt"

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch."""
        return torch.log(1 + mean)


@dataclass(frozen=True)
class Mix(Criterion):
    """Weighted sum of criteria of the same regions, as one criterion.

    Args:
        name: of the sum.
        parts: criteria and their weights.
    """

    name: str
    parts: tuple[tuple[Criterion, float], ...]

    def __post_init__(self) -> None:
        for part, _ in self.parts:
            if isinstance(part, LogHausdorff):
                raise ValueError("parts has a LogHausdorff, which is no mean over regions; add it outside of a Mix")

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return tuple(dict.fromkeys(quantity for part, _ in self.parts for quantity in part.quantities))

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return torch.stack([weight * part.values(sums) for part, weight in self.parts]).sum(0)
