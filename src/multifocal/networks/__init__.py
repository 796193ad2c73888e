"""The networks, by name."""

from multifocal.networks.padding import Padded
from multifocal.networks.registry import NETWORKS, Network, build, check_options, describe, dimensions, names, register

__all__ = [
    "NETWORKS",
    "Network",
    "Padded",
    "build",
    "check_options",
    "describe",
    "dimensions",
    "names",
    "register",
]
