"""Where it is measured: partitions of the image into regions, and the sums over each."""

from multifocal.losses.partitions.base import Partition
from multifocal.losses.partitions.blobs import Blobs
from multifocal.losses.partitions.cells import Cells, PredictionCells
from multifocal.losses.partitions.image import Image, InverseWeighted
from multifocal.losses.partitions.over import PARTITIONS, Over, partition_named
from multifocal.losses.partitions.touching import Instances, Predictions, Touching

__all__ = [
    "PARTITIONS",
    "Blobs",
    "Cells",
    "Image",
    "Instances",
    "InverseWeighted",
    "Over",
    "Partition",
    "PredictionCells",
    "Predictions",
    "Touching",
    "partition_named",
]
