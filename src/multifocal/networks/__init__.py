"""The networks, by name."""

from multifocal.networks import unet3d, unetpp  # noqa: F401  (they register themselves)
from multifocal.networks.padding import Padded
from multifocal.networks.registry import build, check_options, describe, dimensions, names, register

__all__ = ["Padded", "build", "check_options", "describe", "dimensions", "names", "register"]
