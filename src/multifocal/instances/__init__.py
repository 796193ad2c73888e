"""Lesions as instances: what a lesion is, decided once for losses, metrics and checks."""

from multifocal.instances.components import Connectivity, components
from multifocal.instances.contingency import Pairs, pairs
from multifocal.instances.instances import Instances, given, label
from multifocal.instances.voronoi import Ties, voronoi_cells
from multifocal.instances.watershed import border_classes, watershed_instances

__all__ = [
    "Connectivity",
    "Instances",
    "Pairs",
    "Ties",
    "border_classes",
    "components",
    "given",
    "label",
    "pairs",
    "voronoi_cells",
    "watershed_instances",
]
