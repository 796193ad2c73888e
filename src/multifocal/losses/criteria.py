"""What is measured: criteria as functions of sums over a region, and criteria over a partition of the images.

Criteria of overlap are ratios of Σpy, Σp and Σy. A region in which nothing is true costs 1 as soon as anything is
predicted there, whatever is done about it: its gradient is that of its mean p, unless a loss is built with
`relaxed=False`. The others are means over voxels: cross-entropy, focal, and distance-weighted errors.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from multifocal.config import Checked, NonNegative, Positive, Share
from multifocal.errors import UserError
from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.inputs import CLASS_WEIGHTS, IGNORE
from multifocal.losses.loss import TERMS, Needs, Term
from multifocal.losses.regions import Image, Partition, Sums, partition_named
from multifocal.losses.voxel_costs import CE, FocalCost, HausdorffCost, P, VoxelCost

SMOOTH = 1e-5  # MONAI's


class Criterion(Term):
    """A loss of a region, from sums over it. Over the whole image unless `over` says otherwise.

    Criteria are losses themselves: `criterion(logits, target)`, and parts of sums:
    `0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()`.

    Example:
        >>> from multifocal.losses import Dice
        >>> target = torch.ones(1, 1, 4, 4)
        >>> round(float(Dice()(torch.zeros(1, 1, 4, 4), target)), 3)
        0.333
    """

    costs: tuple[VoxelCost, ...] = (P,)
    follows = IGNORE

    @abstractmethod
    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region, (regions,): the mean over channels, `sums.mean` of what each has.

        One that goes by `sums.mean` says `follows = IGNORE | CLASS_WEIGHTS`.

        Args:
            sums: of each region, (regions, channels).

        Returns:
            One value for each region, (regions,).
        """

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch from the mean over its regions.

        Args:
            mean: weighted mean of `values` over the regions, a scalar.

        Returns:
            A scalar.
        """
        return mean

    @property
    def is_mean(self) -> bool:
        """Whether the loss of the batch is the mean over its regions, and nothing is done to it."""
        return type(self).finish is Criterion.finish

    @property
    def takes_distances(self) -> bool:
        """Whether it looks at distances to borders, which are those of the whole image."""
        return any(isinstance(cost, HausdorffCost) for cost in self.costs)

    def over(self, partition: str, /, **options: Any) -> "Over":
        """Return the criterion over regions of the image: by the partition's name.

        Args:
            partition: "image", "blobs", "instances", "predictions", "cells", "prediction-cells", "inverse-weighted", or
                the name of one that another package registers.
            **options: those of the partition, such as `batch=True` of "image".

        Returns:
            A term.

        Raises:
            UserError: an unknown partition or option, or a partition that changes the distances the criterion takes.

        Example:
            >>> from multifocal.losses import Dice
            >>> Dice().over("instances", pool="image").name
            'dice over instances'
        """
        return Over(self, partition_named(partition, **options))

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return self._over_the_image.needs

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the criterion over the whole image.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        return self._over_the_image.measure(batch_sums)

    @cached_property
    def _over_the_image(self) -> "Over":
        return Over(self, Image())


@dataclass(frozen=True)
class Over(Checked, Term):
    """A criterion over a partition.

    Raises:
        UserError: a criterion of distances over regions in which distances would be others than in the image.

    Example:
        >>> from multifocal.losses import Dice
        >>> from multifocal.losses.regions import Blobs
        >>> Over(Dice(), Blobs()).name
        'dice over blobs'
    """

    criterion: Criterion
    partition: Partition

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.criterion.takes_distances and not self.partition.keeps_distances:
            raise UserError(
                f"{self.criterion.name} over {self.partition.label}: its distances are those of the whole image, "
                "which are others within a region; expected a criterion without distances"
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """`criterion over partition`."""
        return f"{self.criterion.name} over {self.partition.label}" if self.partition.label else self.criterion.name

    @property
    def follows(self) -> frozenset[str]:  # type: ignore[override]
        """Which options it goes by: those of its criterion and its partition."""
        return self.criterion.follows & self.partition.follows

    @property
    def joins_images(self) -> bool:  # type: ignore[override]
        """Whether a region is of several images."""
        return self.partition.joins_images

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return Needs(
            self.criterion.costs if self.partition.takes_background else (),
            self.partition.looks_at_prediction,
            self.partition.classes and not self.criterion.takes_distances,
            self.partition.shares and not self.criterion.takes_distances,
        )

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the weighted mean of the criterion over the regions."""
        sums, weights = self.partition.sums(batch_sums, self.criterion.costs, relaxed=batch_sums.options.relaxed)
        return self.criterion.finish((self.criterion.values(sums) * weights).sum())


class _Ratio(Checked, Criterion):
    """A criterion of each channel by itself."""

    follows = IGNORE | CLASS_WEIGHTS

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return sums.mean(where_empty(1 - self._ratio(sums), sums, sums.true == 0))

    @abstractmethod
    def _ratio(self, sums: Sums) -> torch.Tensor:
        """Return what is 1 where all is right, (regions, channels)."""


@TERMS.register("dice")
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


@TERMS.register("jaccard")
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


@TERMS.register("tversky")
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


@TERMS.register("generalized-dice")
@dataclass(frozen=True)
class GeneralizedDice(Checked, Criterion):
    """`1 - (2 Σ_c w_c Σpy + s) / (Σ_c w_c (Σp + Σy) + s)`, `w_c = 1/(Σy)²` over the channels c (Sudre 2017).

    The option `class_weights` multiplies `w_c`.

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
    follows = IGNORE | CLASS_WEIGHTS
    weighting: Literal["monai", "normalized"] = "monai"
    smooth: Positive = SMOOTH

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region.

        Args:
            sums: of each region, (regions, channels).

        Returns:
            One value for each region, (regions,).
        """
        both = sums.predicted + sums.true
        by_class = 1.0 if sums.weights is None else sums.weights
        if self.weighting == "normalized":
            weight = by_class / sums.true.clamp_min(1).square()
            weight = weight / weight.sum(1, keepdim=True)
        else:
            weight = torch.where(sums.true > 0, 1 / sums.true.clamp_min(0.5).square(), 0)
            weight = torch.where(sums.true > 0, weight, weight.amax(1, keepdim=True))
            weight = weight if sums.weights is None else weight * sums.weights
        ratio = (2 * (sums.overlap * weight).sum(1) + self.smooth) / ((both * weight).sum(1) + self.smooth)
        return where_empty(1 - ratio, sums, (sums.true == 0).all(1))


class _Mean(Checked, Criterion):
    """The mean of one cost."""

    follows = IGNORE | CLASS_WEIGHTS

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return sums.mean(sums.others[self.costs[0]] / sums.size)


@TERMS.register("ce")
@dataclass(frozen=True)
class CrossEntropy(_Mean):
    """Mean of `-y log p - (1-y) log(1-p)`; with softmax, over the image, `-Σ_c y_c log p_c`.

    Example:
        >>> round(float(CrossEntropy()(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.693
    """

    name = "ce"
    costs = (CE,)


@TERMS.register("focal")
@dataclass(frozen=True)
class Focal(_Mean):
    """Mean of `-|p-y|^γ log(1 - |p-y|)` (Lin 2017); with softmax, over the image, of the target's class alone.

    Args:
        gamma: γ.
        alpha: weight of the foreground, `1 - alpha` that of the background (with softmax: of class 0); None weighs
            neither.

    Example:
        >>> round(float(Focal(gamma=2.0)(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))), 3)
        0.173
    """

    name = "focal"
    gamma: NonNegative = 2.0
    alpha: Share | None = None

    @property
    def costs(self) -> tuple[VoxelCost, ...]:  # type: ignore[override]
        """What is summed."""
        return (FocalCost(self.gamma, self.alpha),)


@TERMS.register("hausdorff-dt")
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
    def costs(self) -> tuple[VoxelCost, ...]:  # type: ignore[override]
        """What is summed."""
        return (HausdorffCost(self.alpha, self.empty),)


@TERMS.register("log-hausdorff-dt")
@dataclass(frozen=True)
class LogHausdorff(Hausdorff):
    """`log(1 + HDT)`, of the batch's mean.

    Args:
        alpha: α, the power of the distances.
        empty: distance to the border of a target without one: the image's "diagonal", or "zero" as in MONAI.

    Raises:
        UserError: an argument that cannot be.

    Example:
        >>> target = torch.zeros(1, 1, 4, 4)
        >>> target[..., :2] = 1
        >>> round(float(LogHausdorff()(9 - 18 * target, target)), 2)
        1.79
    """

    name = "log-hausdorff-dt"

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch.

        Args:
            mean: weighted mean of `values` over the regions, a scalar.

        Returns:
            A scalar.
        """
        return torch.log(1 + mean)


@dataclass(frozen=True)
class CriterionSum(Checked, Criterion):
    """Weighted sum of criteria of the same regions, as one criterion.

    Args:
        name: of the sum.
        parts: criteria and their weights.

    Raises:
        UserError: a part that is no mean over regions.

    Example:
        >>> from multifocal.losses import Dice, Focal
        >>> CriterionSum("mine", ((Dice(), 1.0), (Focal(gamma=3.0), 2.0))).over("blobs").name
        'mine over blobs'
    """

    called = "Mix"
    name: str
    parts: tuple[tuple[Criterion, NonNegative], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise UserError("Mix: parts is empty; expected criteria and their weights")
        for part, _ in self.parts:
            if not part.is_mean:
                raise UserError(f"Mix: parts has {part.name}, which is no mean over regions; add it outside of the Mix")

    @property
    def follows(self) -> frozenset[str]:  # type: ignore[override]
        """Which options it goes by: those of all its parts."""
        return frozenset.intersection(*(part.follows for part, _ in self.parts))

    @property
    def costs(self) -> tuple[VoxelCost, ...]:  # type: ignore[override]
        """What is summed."""
        return tuple(dict.fromkeys(cost for part, _ in self.parts for cost in part.costs))

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region.

        Args:
            sums: of each region, (regions, channels).

        Returns:
            One value for each region, (regions,).
        """
        return torch.stack([weight * part.values(sums) for part, weight in self.parts]).sum(0)


def gdf(*, gamma: float = 2.0, weighting: Literal["monai", "normalized"] = "monai") -> CriterionSum:
    """Return generalized Dice + focal as one criterion.

    Args:
        gamma: γ of focal.
        weighting: "monai" or "normalized", see `GeneralizedDice`.

    Returns:
        The sum of both, each with weight 1.

    Raises:
        UserError: an argument that cannot be.

    Example:
        >>> gdf().over("blobs").name
        'gdf over blobs'
    """
    return CriterionSum("gdf", ((GeneralizedDice(weighting=weighting), 1.0), (Focal(gamma=gamma), 1.0)))


def dice_ce() -> CriterionSum:
    """Return Dice + cross-entropy as one criterion.

    Returns:
        Their sum, each with weight 1.

    Example:
        >>> dice_ce().over("cells").name
        'dice-ce over cells'
    """
    return CriterionSum("dice-ce", ((Dice(), 1.0), (CrossEntropy(), 1.0)))


TERMS.register("gdf", gdf)
TERMS.register("dice-ce", dice_ce)
TERMS.register("mix", CriterionSum)


def straight_through(value: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Return the value with the gradient of its soft stand-in.

    Args:
        value: any shape; what comes out.
        soft: the same shape; whose gradient it gets.

    Returns:
        A tensor of that shape.

    Example:
        >>> x = torch.tensor(0.3, requires_grad=True)
        >>> y = straight_through(x.round(), 2 * x)
        >>> y.backward()
        >>> y.item(), x.grad.item()
        (0.0, 2.0)
    """
    return value.detach() + (soft - soft.detach())


def where_empty(value: torch.Tensor, sums: Sums, empty: torch.Tensor) -> torch.Tensor:
    """Return a ratio's value; where nothing is true, with the gradient of the region's mean p.

    There `1 - s / (Σp + s)` is 1 as soon as anything is predicted, and its own gradient all but zero.

    Args:
        value: (regions, channels), or (regions,) of all channels together.
        sums: that it was made of.
        empty: where nothing is true, of the value's shape.

    Returns:
        A tensor of the value's shape and content.

    Example:
        >>> from multifocal.losses import Dice
        >>> p = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
        >>> Dice().build(activation="none")(p, torch.zeros(1, 1, 4, 4)).backward()
        >>> p.grad.unique().item() * 16
        1.0
    """
    if sums.extent is None or not bool(empty.any()):
        return value
    mean = sums.predicted / sums.extent
    return torch.where(empty, straight_through(value, mean if value.ndim == 2 else sums.mean(mean)), value)
