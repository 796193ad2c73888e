"""Each lesion with the background around it."""

from dataclasses import dataclass

import torch

from multifocal.losses.criteria import Sums
from multifocal.losses.partitions.base import Partition, by_image, gathered
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.scene import Scene


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

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        image = scene.index(scene.true.image)
        found = gathered(
            quantities,
            overlap=lambda: scene.by_lesion(P),
            predicted=lambda: scene.background(P)[image] + scene.by_lesion(P),
            true=scene.number(scene.true.sizes),
            other=lambda q: scene.background(q)[image] + scene.by_lesion(q),
            size=float(scene.size),
            extent=None,  # each has a lesion
        )
        return found, scene.number(by_image(scene.true.counts))
