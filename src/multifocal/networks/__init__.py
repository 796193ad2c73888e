"""The networks, by name."""

from multifocal.networks.foreign import Foreign
from multifocal.networks.padding import Padded
from multifocal.networks.prior import head_name, start_from_prior
from multifocal.networks.registry import (
    NETWORKS,
    Network,
    build,
    check_options,
    describe,
    dimensions,
    lasting,
    names,
    options,
    outputs,
    package,
    register,
)
from multifocal.networks.supervision import DeepSupervision, Level, downsample_target

__all__ = [
    "NETWORKS",
    "DeepSupervision",
    "Foreign",
    "Level",
    "Network",
    "Padded",
    "build",
    "check_options",
    "describe",
    "dimensions",
    "downsample_target",
    "head_name",
    "lasting",
    "names",
    "options",
    "outputs",
    "package",
    "register",
    "start_from_prior",
]
