"""A criterion over a partition: what a loss is made of."""

from dataclasses import dataclass
from typing import Any

import torch

from multifocal.config import check_arguments
from multifocal.errors import UserError, unknown_name
from multifocal.losses.algebra import Needs, Term
from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Criterion
from multifocal.losses.partitions.base import Partition
from multifocal.losses.partitions.blobs import Blobs
from multifocal.losses.partitions.cells import Cells, PredictionCells
from multifocal.losses.partitions.image import Image, InverseWeighted
from multifocal.losses.partitions.touching import Instances, Predictions
from multifocal.losses.scene import Scene

PARTITIONS: dict[str, type[Partition]] = {
    "image": Image,
    "blobs": Blobs,
    "instances": Instances,
    "predictions": Predictions,
    "cells": Cells,
    "prediction-cells": PredictionCells,
    "inverse-weighted": InverseWeighted,
}


@dataclass(frozen=True)
class Over(Checked, Term):
    """A criterion over a partition.

    Raises:
        UserError: a criterion of distances over regions in which distances would be others than in the image.

    Example:
        >>> from multifocal.losses import Dice
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
    def needs(self) -> Needs:
        """What a scene must hold."""
        return Needs(
            self.criterion.quantities if self.partition.takes_background else (),
            self.partition.looks_at_prediction,
            self.partition.classes and not self.criterion.takes_distances,
        )

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the weighted mean of the criterion over the regions."""
        sums, weights = self.partition.sums(scene, self.criterion.quantities, relaxed=scene.options.relaxed)
        return self.criterion.finish((self.criterion.values(sums) * weights).sum())


def partition_named(name: str, /, **options: Any) -> Partition:
    """Return a partition by its name.

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> partition_named("instances", pool="image")
        Instances(pool='image')
    """
    if name not in PARTITIONS:
        raise unknown_name("partition", str(name), PARTITIONS)
    check_arguments(PARTITIONS[name], options, where=f"options of partition {name}")
    return PARTITIONS[name](**options)
