"""The losses, by name."""

from multifocal.losses.compound import WeightedSum
from multifocal.losses.named import build, check_options, describe, names

__all__ = ["WeightedSum", "build", "check_options", "describe", "names"]
