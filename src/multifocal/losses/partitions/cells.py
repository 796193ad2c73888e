"""Voronoi cells as regions."""

from dataclasses import dataclass

import torch

from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Sums
from multifocal.losses.partitions.base import Partition, by_image, gathered
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.scene import Scene


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
    takes_background = False
    side = "target"  # whose components have the cells

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each cell."""
        groups, counts = scene.cells(self.side)
        number = int(counts.sum())
        background = scene.split_by(groups, number, quantities)
        of_one = groups.view(-1)[scene.tensor("ones")].int()
        true = scene.summed(torch.ones_like(of_one, dtype=torch.float64), of_one, number)

        def inside(quantity: Quantity) -> torch.Tensor:
            return scene.summed(scene.values(quantity)[: len(of_one)], of_one, number)

        def whole(quantity: Quantity) -> torch.Tensor:
            return background[quantities.index(quantity)] + inside(quantity)

        def sizes() -> torch.Tensor:
            return scene.sizes_of(groups, number)[:, None]

        empty = relaxed and bool((true == 0).any())
        means = any(quantity != P for quantity in quantities)
        size = sizes() if empty or means else None
        found = gathered(
            quantities,
            overlap=lambda: inside(P),
            predicted=lambda: whole(P),
            true=true,
            other=whole,
            size=1.0 if size is None else size,
            extent=size if empty else None,
        )
        return found, scene.number(by_image(counts))


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
