"""Where it is measured: partitions of the images into regions, and the sums over each region."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from multifocal.config import Checked, check_arguments
from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.inputs import CLASS_WEIGHTS, IGNORE
from multifocal.losses.voxel_costs import CE, P, VoxelCost
from multifocal.registry import Registry


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over regions, each of shape (regions, channels).

    Args:
        overlap: Σpy.
        predicted: Σp.
        true: Σy.
        others: sums of other costs.
        size: the voxels that their means are over.
        extent: the voxels of the region itself, over which an empty region's stand-in is a mean; None for none.
        weights: (channels,), of the mean over channels; None weighs all alike.
    """

    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    others: Mapping[VoxelCost, torch.Tensor]
    size: torch.Tensor | float
    extent: torch.Tensor | float | None = None
    weights: torch.Tensor | None = None

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over channels, weighed by class.

        Args:
            values: (regions, channels).

        Returns:
            (regions,).

        Example:
            >>> sums = Sums(*torch.zeros(3, 1, 2), {}, 1.0, weights=torch.tensor([3.0, 1.0]))
            >>> sums.mean(torch.tensor([[0.0, 1.0]])).item()
            0.25
        """
        if self.weights is None:
            return values.mean(1)
        return (values * self.weights).sum(1) / self.weights.sum()


class Partition(ABC):
    """Regions of the images of a batch.

    Attributes:
        label: what terms are called after.
        looks_at_prediction: whether predicted components make the regions.
        takes_background: whether it needs the sums over each image's background.
        keeps_distances: whether distances within the image are those within its regions.
        classes: whether a region has all of softmax's classes (see `LossInput`).
        shares: whether its sums are of soft labels as they are (`SoftSums`), and not 1 from a half on.
        joins_images: whether one region is of several images, so that an image has no value of its own.
        follows: which of the options `ignore` and `class_weights` its sums and weights go by; others are refused.

    Example:
        >>> from multifocal.losses.regions import REGIONS
        >>> [name for name, kind in REGIONS.items() if kind.looks_at_prediction]
        ['instances', 'predictions', 'prediction-cells']
    """

    label: str
    looks_at_prediction = False
    takes_background = True
    keeps_distances = False
    classes = False
    shares = False
    joins_images = False
    follows: frozenset[str] = frozenset()

    @abstractmethod
    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each region, and the regions' weights in the mean.

        Args:
            batch_sums: the batch.
            costs: that are summed.
            relaxed: give regions without a prediction, or without anything true, the gradient of a soft stand-in.

        Returns:
            The sums, one a region, and the regions' weights, which add up to 1.
        """


# Partitions by the names that they have after `over`.
REGIONS: Registry[type[Partition]] = Registry("partition", group="multifocal.loss_regions")


@REGIONS.register("image")
@dataclass(frozen=True)
class Image(Checked, Partition):
    """Each image is one region; with `batch` all images together are.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("image", batch=True).name
        'dice'
    """

    label = ""
    follows = IGNORE | CLASS_WEIGHTS
    keeps_distances = True
    classes = True
    shares = True
    batch: bool = False

    @property
    def joins_images(self) -> bool:  # type: ignore[override]
        """Whether all images together are one region."""
        return self.batch

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each image."""

        def shaped(values: torch.Tensor) -> torch.Tensor:
            rows = values.view(batch_sums.batch, batch_sums.channels)
            return rows.sum(0, keepdim=True) if self.batch else rows

        def counted(values: torch.Tensor) -> torch.Tensor:
            return shaped(values)[:, batch_sums.view.skipped :]

        weights = None
        if batch_sums.view.class_weights is not None:
            weights = batch_sums.class_weights_of(np.arange(batch_sums.channels))
        together = batch_sums.activation.name == "log-probabilities"

        def other(cost: VoxelCost) -> torch.Tensor:
            total = batch_sums.background(cost) + batch_sums.by_image(cost)
            if together and weights is not None:
                # Each voxel has the weight of its class, and the mean over channels is not weighed again.
                by_class = shaped(total) * weights
                columns = by_class[:, batch_sums.view.skipped :].mean(1, keepdim=True)
                return by_class.sum(1, keepdim=True) if cost == CE else columns
            if cost == CE and together:
                return shaped(total).sum(1, keepdim=True)  # one number a voxel, not one a channel
            return counted(total)

        extent: torch.Tensor | float = float(batch_sums.size * (batch_sums.batch if self.batch else 1))
        if batch_sums.view.ignored is not None:
            extent = counted(batch_sums.number(batch_sums.known)).clamp_min(1)
        size = extent
        if together and weights is not None:
            size = (shaped(batch_sums.counts) * weights).sum(1, keepdim=True)
            size = torch.where(size > 0, size, 1)  # where no voxel has a weight, no sum has a cost
        found = gathered(
            costs,
            overlap=lambda: counted(batch_sums.by_image(P)),
            predicted=lambda: counted(batch_sums.background(P) + batch_sums.by_image(P)),
            true=counted(batch_sums.counts),
            other=other,
            size=size,
            extent=extent if relaxed else None,
            weights=None if weights is None else weights[batch_sums.view.skipped :],
        )
        return found, even(batch_sums, 1 if self.batch else batch_sums.batch)


@REGIONS.register("blobs")
@dataclass(frozen=True)
class Blobs(Partition):
    """One region a lesion: its image without the other lesions (blob loss, Kofler 2023).

    Mean over an image's lesions, then over the images that have one. Means are over the image's voxels.

    Example:
        >>> from multifocal.losses import Dice
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 1:3, 1:3] = target[..., 5, 5] = 1
        >>> round(float(Dice().over("blobs").build(activation="none")(target, target)), 4)
        0.0
    """

    label = "blobs"
    follows = IGNORE | CLASS_WEIGHTS

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        image = batch_sums.index(batch_sums.true.image)
        found = gathered(
            costs,
            overlap=lambda: batch_sums.by_lesion(P),
            predicted=lambda: batch_sums.background(P)[image] + batch_sums.by_lesion(P),
            true=batch_sums.number(batch_sums.true.sizes),
            other=lambda q: batch_sums.background(q)[image] + batch_sums.by_lesion(q),
            size=batch_sums.voxels_of(image),
            extent=None,  # each has a lesion
        )
        return found, batch_sums.weighed(by_image(batch_sums.true.counts), batch_sums.true.image)


@REGIONS.register("instances")
@dataclass(frozen=True)
class InstanceRegions(Checked, Partition):
    """One region a lesion: the predicted components that touch it less the other lesions (Rachmadi 2024, eq. 2).

    Where a cost has no value at p = 0 (cross-entropy, focal), the lesion's voxels outside these components cost what
    their own probability does. A lesion that nothing touches has no prediction, and so no gradient, as published;
    relaxed, it takes that of its own voxels' probabilities.

    Args:
        pool: the mean is over all lesions of the "batch", or over each "image" first.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("instances", pool="image").name
        'dice over instances'
    """

    called = "Instances"
    label = "instances"
    follows = IGNORE | CLASS_WEIGHTS
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        touch = Touching(batch_sums)

        def own() -> torch.Tensor:
            """Return zero, with the gradient of the sum over each lesion that nothing touches."""
            inside = batch_sums.by_lesion(P)
            if not relaxed:
                return torch.zeros_like(inside)
            return touch.untouched(inside) * (inside - inside.detach())

        found = gathered(
            costs,
            overlap=lambda: touch.by_lesion(touch.shared(P)) + own(),
            predicted=lambda: touch.by_lesion(touch.shared(P) + touch.outside(P)[touch.prediction]) + own(),
            true=batch_sums.number(batch_sums.true.sizes),
            other=lambda q: batch_sums.by_lesion(q) + touch.by_lesion(touch.outside(q)[touch.prediction]),
            size=batch_sums.voxels_of(batch_sums.index(batch_sums.true.image)),
            extent=None,  # each has a lesion
        )
        return found, batch_sums.weighed(pooled(batch_sums.true.counts, self.pool), batch_sums.true.image)


@REGIONS.register("predictions")
@dataclass(frozen=True)
class PredictionRegions(Checked, Partition):
    """One region a predicted component: itself and the lesions it touches (Rachmadi 2024, eq. 3).

    A false component costs 1 by Dice, and its gradient is all but zero, as published; relaxed, it takes that of its
    mean p.

    Args:
        pool: as in `InstanceRegions`.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("predictions").name
        'dice over predictions'
    """

    called = "Predictions"
    label = "predictions"
    follows = IGNORE | CLASS_WEIGHTS
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each predicted component's region."""
        touch = Touching(batch_sums)
        sizes = batch_sums.number(batch_sums.true.sizes)
        found = gathered(
            costs,
            overlap=lambda: touch.by_prediction(touch.shared(P)),
            predicted=lambda: touch.by_prediction(touch.shared(P)) + touch.outside(P),
            true=touch.by_prediction(sizes[touch.lesion]),
            other=lambda q: touch.outside(q) + touch.by_prediction(batch_sums.by_lesion(q)[touch.lesion]),
            size=batch_sums.voxels_of(batch_sums.index(batch_sums.predicted.image)),
            extent=batch_sums.number(batch_sums.predicted.sizes) if relaxed else None,
        )
        return found, batch_sums.weighed(pooled(batch_sums.predicted.counts, self.pool), batch_sums.predicted.image)


@REGIONS.register("cells")
@dataclass(frozen=True)
class Cells(Checked, Partition):
    """One region a lesion: the voxels nearest to it (CC-Dice, CC-DiceCE).

    Mean over an image's cells, then over images. An image without lesions is one cell. Where two lesions are equally
    near, the rule of `multifocal.instances.voronoi_cells` decides.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("cells").name
        'dice over cells'
    """

    label = "cells"
    follows = IGNORE | CLASS_WEIGHTS
    takes_background = False
    side = "target"  # whose components have the cells

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each cell."""
        groups, counts = batch_sums.cells(self.side)
        number = int(counts.sum())
        background = batch_sums.split_by(groups, number, costs)
        of_one = groups.view(-1)[batch_sums.tensor("foreground_index")].int()
        true = batch_sums.summed(torch.ones_like(of_one, dtype=torch.float64), of_one, number)

        def inside(cost: VoxelCost) -> torch.Tensor:
            return batch_sums.summed(batch_sums.values(cost)[: len(of_one)], of_one, number)

        def whole(cost: VoxelCost) -> torch.Tensor:
            return background[costs.index(cost)] + inside(cost)

        def sizes() -> torch.Tensor:
            return batch_sums.sizes_of(groups, number).clamp_min(1)[:, None]  # all of a cell may be ignored

        empty = relaxed and bool((true == 0).any())
        means = any(cost != P for cost in costs)
        size = sizes() if empty or means else None
        found = gathered(
            costs,
            overlap=lambda: inside(P),
            predicted=lambda: whole(P),
            true=true,
            other=whole,
            size=1.0 if size is None else size,
            extent=size if empty else None,
        )
        return found, batch_sums.weighed(by_image(counts), np.repeat(np.arange(len(counts)), counts))


@REGIONS.register("prediction-cells")
@dataclass(frozen=True)
class PredictionCells(Cells):
    """One region a predicted component: the voxels nearest to it (the other half of BiCC).

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("prediction-cells").name
        'dice over prediction-cells'
    """

    label = "prediction-cells"
    looks_at_prediction = True
    side = "prediction"


@REGIONS.register("inverse-weighted")
@dataclass(frozen=True)
class InverseWeighted(Partition):
    """Each image, its voxels weighted by the inverse size of their component (Shirokikh 2020).

    `w = Σ_j |L_j| / ((N + 1) |L_k|)` in the component k; the background is one of them.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("inverse-weighted").name
        'dice over inverse-weighted'
    """

    label = "inverse-weighted"
    follows = IGNORE | CLASS_WEIGHTS
    keeps_distances = True

    def sums(self, batch_sums: BatchSums, costs: tuple[VoxelCost, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the weighted sums over each image."""
        image = batch_sums.index(batch_sums.true.image)
        parts, known = batch_sums.true.counts + 1, batch_sums.known
        owner = batch_sums.true.image
        of_lesion = batch_sums.number(known[owner] / (parts[owner] * batch_sums.true.sizes))
        of_background = batch_sums.number(known / parts) / (batch_sums.number(known) - batch_sums.counts).clamp_min(1)
        shape = (batch_sums.batch, batch_sums.channels)
        size = batch_sums.voxels_of()
        size = size.view(shape) if isinstance(size, torch.Tensor) else size
        weights = None
        if batch_sums.view.class_weights is not None:
            weights = batch_sums.class_weights_of(np.arange(batch_sums.channels))

        def inside(cost: VoxelCost) -> torch.Tensor:
            weighted = batch_sums.by_lesion(cost) * of_lesion
            return torch.zeros_like(of_background).index_add(0, image, weighted)

        def whole(cost: VoxelCost) -> torch.Tensor:
            return (of_background * batch_sums.background(cost) + inside(cost)).view(shape)

        found = gathered(
            costs,
            overlap=lambda: inside(P).view(shape),
            predicted=lambda: whole(P),
            true=batch_sums.number(known * batch_sums.true.counts / parts).view(shape),
            other=whole,
            size=size,
            extent=size if relaxed else None,  # what the weights add up to
            weights=weights,
        )
        return found, even(batch_sums, batch_sums.batch)


def partition_named(name: str, /, **options: Any) -> Partition:
    """Return a partition by its name.

    Args:
        name: of the partition.
        **options: its own, such as `pool="image"`.

    Returns:
        The partition.

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> partition_named("instances", pool="image")
        InstanceRegions(pool='image')
    """
    partition = REGIONS[name]
    check_arguments(partition, options, where=f"options of partition {name}")
    return partition(**options)


class Touching:
    """The pairs of a batch that are no background: each a predicted component and a lesion that share voxels."""

    def __init__(self, batch_sums: BatchSums) -> None:
        self.batch_sums = batch_sums
        m, n = batch_sums.pairs.prediction, batch_sums.pairs.target
        both, alone = np.flatnonzero((m > 0) & (n > 0)), np.flatnonzero(n == 0)
        self._both, self._alone = batch_sums.index(both), batch_sums.index(alone)
        self.prediction, self.lesion = batch_sums.index(m[both] - 1), batch_sums.index(n[both] - 1)
        self._owner = batch_sums.index(m[alone] - 1)

    def shared(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over each pair's shared voxels."""
        return self.batch_sums.by_pair(cost)[self._both]

    def outside(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over each predicted component's voxels outside of all lesions, (M,)."""
        alone = self.batch_sums.by_pair(cost)[self._alone]
        return alone.new_zeros(self.batch_sums.predicted.total).index_add(0, self._owner, alone)

    def by_lesion(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by lesion, (N,)."""
        return values.new_zeros(self.batch_sums.true.total).index_add(0, self.lesion, values)

    def by_prediction(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by predicted component, (M,)."""
        return values.new_zeros(self.batch_sums.predicted.total).index_add(0, self.prediction, values)

    def untouched(self, like: torch.Tensor) -> torch.Tensor:
        """Return 1 for each lesion that nothing touches, and 0 for the others, (N,)."""
        return torch.ones_like(like).index_fill(0, self.lesion, 0)


Total = Callable[[VoxelCost], torch.Tensor]


def gathered(
    costs: tuple[VoxelCost, ...],
    *,
    overlap: Callable[[], torch.Tensor],
    predicted: Callable[[], torch.Tensor],
    true: torch.Tensor,
    other: Total,
    size: torch.Tensor | float,
    extent: torch.Tensor | float | None,
    weights: torch.Tensor | None = None,
) -> Sums:
    """Return the sums that the costs ask for, as (regions, channels)."""
    nothing = torch.zeros_like(true)
    with_p = P in costs
    return Sums(
        _column(overlap() if with_p else nothing),
        _column(predicted() if with_p else nothing),
        _column(true),
        {cost: _column(other(cost)) for cost in costs if cost != P},
        size,
        _column(extent) if isinstance(extent, torch.Tensor) else extent,
        weights,
    )


def even(batch_sums: BatchSums, count: int) -> torch.Tensor:
    """Return weights for a mean over as many regions."""
    return torch.full((count,), 1 / count, dtype=batch_sums.x.dtype, device=batch_sums.x.device)


def by_image(counts: np.ndarray) -> np.ndarray:
    """Return weights for a mean over each image's regions, then over the images that have one.

    Args:
        counts: (images,), the regions of each image.

    Returns:
        (regions,), in the order of the images; they add up to 1.

    Example:
        >>> by_image(np.array([2, 0, 1])).tolist()
        [0.25, 0.25, 0.5]
    """
    return np.repeat(1 / (np.maximum(counts, 1) * max(1, np.count_nonzero(counts))), counts)


def pooled(counts: np.ndarray, pool: str) -> np.ndarray:
    """Return weights for a mean over the regions of the batch, or over each image's first.

    Args:
        counts: (images,), the regions of each image.
        pool: "batch" or "image".

    Returns:
        (regions,), in the order of the images; they add up to 1.

    Example:
        >>> pooled(np.array([3, 1]), "batch").tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    if pool == "image":
        return by_image(counts)
    return np.full(counts.sum(), 1 / max(1, counts.sum()))


def _column(values: torch.Tensor) -> torch.Tensor:
    return values if values.ndim == 2 else values[:, None]
