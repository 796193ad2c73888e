"""Whole images as regions."""

from dataclasses import dataclass

import torch

from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Sums
from multifocal.losses.partitions.base import Partition, even, gathered
from multifocal.losses.quantities import CE, P, Quantity
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class Image(Checked, Partition):
    """Each image is one region; with `batch` all images together are.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("image", batch=True).name
        'dice'
    """

    label = ""
    keeps_distances = True
    classes = True
    batch: bool = False

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each image."""

        def shaped(values: torch.Tensor) -> torch.Tensor:
            rows = values.view(scene.batch, scene.channels)
            return rows.sum(0, keepdim=True) if self.batch else rows

        def counted(values: torch.Tensor) -> torch.Tensor:
            return shaped(values)[:, scene.view.skipped :]

        def other(quantity: Quantity) -> torch.Tensor:
            total = scene.background(quantity) + scene.by_image(quantity)
            if quantity == CE and scene.source.name == "log-probabilities":
                return shaped(total).sum(1, keepdim=True)  # one number a voxel, not one a channel
            return counted(total)

        size = float(scene.size * (scene.batch if self.batch else 1))
        found = gathered(
            quantities,
            overlap=lambda: counted(scene.by_image(P)),
            predicted=lambda: counted(scene.background(P) + scene.by_image(P)),
            true=counted(scene.counts),
            other=other,
            size=size,
            extent=size if relaxed else None,
        )
        return found, even(scene, 1 if self.batch else scene.batch)


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
    keeps_distances = True

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the weighted sums over each image."""
        image = scene.index(scene.true.image)
        parts = scene.true.counts + 1
        of_lesion = scene.number(scene.size / (parts[scene.true.image] * scene.true.sizes))
        of_background = scene.number(scene.size / parts) / (scene.size - scene.counts).clamp_min(1)
        shape = (scene.batch, scene.channels)

        def inside(quantity: Quantity) -> torch.Tensor:
            weighted = scene.by_lesion(quantity) * of_lesion
            return torch.zeros_like(of_background).index_add(0, image, weighted)

        def whole(quantity: Quantity) -> torch.Tensor:
            return (of_background * scene.background(quantity) + inside(quantity)).view(shape)

        found = gathered(
            quantities,
            overlap=lambda: inside(P).view(shape),
            predicted=lambda: whole(P),
            true=scene.number(scene.size * scene.true.counts / parts).view(shape),
            other=whole,
            size=float(scene.size),
            extent=float(scene.size) if relaxed else None,  # what the weights add up to
        )
        return found, even(scene, scene.batch)
