"""Where it is measured: partitions of the image into regions, and the sums over each."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from multifocal.config import check_arguments
from multifocal.errors import unknown_name
from multifocal.losses.algebra import Term
from multifocal.losses.criteria import Criterion, Sums
from multifocal.losses.quantities import CE, P, Quantity
from multifocal.losses.scene import Scene

Total = Callable[[Quantity], torch.Tensor]


class Partition:
    """Regions of the images of a batch.

    `looks_at_prediction` says whether predicted components make the regions, `takes_background` whether it needs the
    sums over each image's background.
    """

    label: str
    looks_at_prediction = False
    takes_background = True

    @abstractmethod
    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each region, and the regions' weights in the mean."""


@dataclass(frozen=True)
class Image(Partition):
    """Each image is one region; with `batch` all images together are."""

    label = ""
    batch: bool = False

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each image."""

        def shaped(values: torch.Tensor) -> torch.Tensor:
            rows = values.view(scene.batch, scene.channels)
            return rows.sum(0, keepdim=True) if self.batch else rows

        found = _sums(
            scene,
            quantities,
            overlap=lambda: shaped(scene.by_image(P)),
            predicted=lambda: shaped(scene.background(P) + scene.by_image(P)),
            true=shaped(scene.counts),
            other=lambda q: shaped(scene.background(q) + scene.by_image(q)),
            size=float(scene.size * (scene.batch if self.batch else 1)),
        )
        count = 1 if self.batch else scene.batch
        return found, _even(scene, count)


@dataclass(frozen=True)
class Blobs(Partition):
    """One region a lesion: its image without the other lesions (blob loss, Kofler 2023).

    Mean over an image's lesions, then over the images that have one. Means are over the image's voxels.
    """

    label = "blobs"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        image = scene.index(scene.true.image)
        found = _sums(
            scene,
            quantities,
            overlap=lambda: scene.by_lesion(P),
            predicted=lambda: scene.background(P)[image] + scene.by_lesion(P),
            true=scene.number(scene.true.sizes),
            other=lambda q: scene.background(q)[image] + scene.by_lesion(q),
            size=float(scene.size),
        )
        return found, scene.number(_by_image(scene.true.counts))


@dataclass(frozen=True)
class Instances(Partition):
    """One region a lesion: the predicted components that touch it less the other lesions (Rachmadi 2024, eq. 2).

    Where a cost has no value at p = 0 (cross-entropy, focal), the lesion's voxels outside these components cost what
    their own probability does.

    Args:
        pool: the mean is over all lesions of the "batch", or over each "image" first.
        relaxed: a lesion that nothing touches has no prediction, and so no gradient, as published; take that of its
            own voxels' probabilities. The value stays.
    """

    label = "instances"
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"
    relaxed: bool = True

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        touch = Touching(scene)
        found = _sums(
            scene,
            quantities,
            overlap=lambda: touch.by_lesion(touch.shared(P)) + self._own(scene, touch),
            predicted=lambda: (
                touch.by_lesion(touch.shared(P) + touch.outside(P)[touch.prediction]) + self._own(scene, touch)
            ),
            true=scene.number(scene.true.sizes),
            other=lambda q: scene.by_lesion(q) + touch.by_lesion(touch.outside(q)[touch.prediction]),
            size=float(scene.size),
        )
        return found, scene.number(_pooled(scene.true.counts, self.pool))

    def _own(self, scene: Scene, touch: "Touching") -> torch.Tensor:
        """Return zero, with the gradient of the sum over each lesion that nothing touches."""
        inside = scene.by_lesion(P)
        if not self.relaxed:
            return torch.zeros_like(inside)
        alone = torch.ones_like(inside).index_fill(0, touch.lesion, 0)
        return alone * (inside - inside.detach())


@dataclass(frozen=True)
class Predictions(Partition):
    """One region a predicted component: itself and the lesions it touches (Rachmadi 2024, eq. 3).

    Args:
        pool: as in `Instances`.
    """

    label = "predictions"
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each predicted component's region."""
        touch = Touching(scene)
        sizes = scene.number(scene.true.sizes)
        found = _sums(
            scene,
            quantities,
            overlap=lambda: touch.by_prediction(touch.shared(P)),
            predicted=lambda: touch.by_prediction(touch.shared(P)) + touch.outside(P),
            true=touch.by_prediction(sizes[touch.lesion]),
            other=lambda q: touch.outside(q) + touch.by_prediction(scene.by_lesion(q)[touch.lesion]),
            size=float(scene.size),
        )
        return found, scene.number(_pooled(scene.predicted.counts, self.pool))


@dataclass(frozen=True)
class Cells(Partition):
    """One region a component: the voxels nearest to it (CC-Dice; of predicted components in BiCC).

    Mean over an image's cells, then over images. An image without components is one cell.

    Args:
        side: whose components.
    """

    takes_background = False
    side: Literal["target", "prediction"] = "target"

    @property
    def label(self) -> str:  # type: ignore[override]
        """What terms are called after."""
        return "cells" if self.side == "target" else "prediction-cells"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each cell."""
        groups, counts = scene.cells(self.side)
        number = int(counts.sum())
        background = scene.split_by(groups, number, quantities)
        of_one = groups.view(-1)[scene.tensor("ones")]

        def inside(quantity: Quantity) -> torch.Tensor:
            return scene.summed(scene.values(quantity)[: len(of_one)], of_one, number)

        def whole(quantity: Quantity) -> torch.Tensor:
            return background[quantities.index(quantity)] + inside(quantity)

        means = any(quantity != P for quantity in quantities)
        sizes = torch.from_numpy(np.bincount(groups.view(-1).cpu().numpy(), minlength=number)) if means else None
        found = _sums(
            scene,
            quantities,
            overlap=lambda: inside(P),
            predicted=lambda: whole(P),
            true=scene.summed(torch.ones_like(of_one, dtype=torch.float64), of_one, number),
            other=whole,
            size=1.0 if sizes is None else sizes.to(groups.device, scene.x.dtype)[:, None],
        )
        return found, scene.number(_by_image(counts))


@dataclass(frozen=True)
class InverseWeighted(Partition):
    """Each image, its voxels weighted by the inverse size of their component (Shirokikh 2020).

    `w = Σ_j |L_j| / ((N + 1) |L_k|)` in the component k; the background is one of them.
    """

    label = "inverse-weighted"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...]) -> tuple[Sums, torch.Tensor]:
        """Return the weighted sums over each image."""
        image = scene.index(scene.true.image)
        parts = scene.true.counts + 1
        of_lesion = scene.number(scene.size / (parts[scene.true.image] * scene.true.sizes))
        of_background = scene.number(scene.size / parts) / (scene.size - scene.counts).clamp_min(1)

        def inside(quantity: Quantity) -> torch.Tensor:
            weighted = scene.by_lesion(quantity) * of_lesion
            return torch.zeros_like(of_background).index_add(0, image, weighted)

        def whole(quantity: Quantity) -> torch.Tensor:
            return of_background * scene.background(quantity) + inside(quantity)

        shape = (scene.batch, scene.channels)
        found = _sums(
            scene,
            quantities,
            overlap=lambda: inside(P).view(shape),
            predicted=lambda: whole(P).view(shape),
            true=scene.number(scene.size * scene.true.counts / parts).view(shape),
            other=lambda q: whole(q).view(shape),
            size=float(scene.size),
        )
        return found, _even(scene, scene.batch)


class Touching:
    """The pairs of a scene that are no background: each a predicted component and a lesion that share voxels."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        m, n = scene.pairs.prediction, scene.pairs.target
        both, alone = np.flatnonzero((m > 0) & (n > 0)), np.flatnonzero(n == 0)
        self._both, self._alone = scene.index(both), scene.index(alone)
        self.prediction, self.lesion = scene.index(m[both] - 1), scene.index(n[both] - 1)
        self._owner = scene.index(m[alone] - 1)

    def shared(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each pair's shared voxels."""
        return self.scene.by_pair(quantity)[self._both]

    def outside(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each predicted component's voxels outside of all lesions, (M,)."""
        alone = self.scene.by_pair(quantity)[self._alone]
        return alone.new_zeros(self.scene.predicted.total).index_add(0, self._owner, alone)

    def by_lesion(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by lesion, (N,)."""
        return values.new_zeros(self.scene.true.total).index_add(0, self.lesion, values)

    def by_prediction(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by predicted component, (M,)."""
        return values.new_zeros(self.scene.predicted.total).index_add(0, self.prediction, values)


@dataclass(frozen=True)
class Over(Term):
    """A criterion over a partition."""

    criterion: Criterion
    partition: Partition

    @property
    def name(self) -> str:  # type: ignore[override]
        """`criterion over partition`."""
        return f"{self.criterion.name} over {self.partition.label}" if self.partition.label else self.criterion.name

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        quantities = self.criterion.quantities if self.partition.takes_background else ()
        return quantities, self.partition.looks_at_prediction

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the weighted mean of the criterion over the regions."""
        sums, weights = self.partition.sums(scene, self.criterion.quantities)
        return self.criterion.finish((self.criterion.values(sums) * weights).sum())


PARTITIONS: dict[str, Callable[..., Partition]] = {
    "image": Image,
    "blobs": Blobs,
    "instances": Instances,
    "predictions": Predictions,
    "cells": Cells,
    "prediction-cells": lambda: Cells(side="prediction"),
    "inverse-weighted": InverseWeighted,
}


def partition_named(name: str, **options: Any) -> Partition:
    """Return a partition by its name.

    Raises:
        ValueError: the name or an option is unknown.
    """
    if name not in PARTITIONS:
        raise unknown_name("partition", name, PARTITIONS)
    check_arguments(PARTITIONS[name], options, where=f"options of partition {name}")
    return PARTITIONS[name](**options)


def _sums(
    scene: Scene,
    quantities: tuple[Quantity, ...],
    *,
    overlap: Callable[[], torch.Tensor],
    predicted: Callable[[], torch.Tensor],
    true: torch.Tensor,
    other: Total,
    size: torch.Tensor | float,
) -> Sums:
    """Return the sums that the quantities ask for, as (regions, channels)."""

    def column(values: torch.Tensor) -> torch.Tensor:
        return values if values.ndim == 2 else values[:, None]

    nothing = torch.zeros_like(true)
    with_p = P in quantities
    # Softmax's cross-entropy is one number a voxel, not one a channel: the mean over channels must not divide it.
    scale = scene.channels if scene.source.name == "log-probabilities" else 1
    others = {q: column(other(q)) * (scale if q == CE else 1) for q in quantities if q != P}
    return Sums(
        column(overlap() if with_p else nothing),
        column(predicted() if with_p else nothing),
        column(true),
        others,
        size,
    )


def _even(scene: Scene, count: int) -> torch.Tensor:
    return torch.full((count,), 1 / count, dtype=scene.x.dtype, device=scene.x.device)


def _by_image(counts: np.ndarray) -> np.ndarray:
    """Return weights for a mean over each image's regions, then over the images that have one."""
    return np.repeat(1 / (np.maximum(counts, 1) * max(1, np.count_nonzero(counts))), counts)


def _pooled(counts: np.ndarray, pool: str) -> np.ndarray:
    if pool == "image":
        return _by_image(counts)
    return np.full(counts.sum(), 1 / max(1, counts.sum()))
