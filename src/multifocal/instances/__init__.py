"""Lesions as instances: what a lesion is, decided once for losses, metrics and checks."""

from multifocal.instances.batches import Instances, given, label
from multifocal.instances.cells import cells
from multifocal.instances.components import Connectivity, components
from multifocal.instances.contingency import Contingency, Pairs, contingency, pairs

__all__ = [
    "Connectivity",
    "Contingency",
    "Instances",
    "Pairs",
    "cells",
    "components",
    "contingency",
    "given",
    "label",
    "pairs",
]
