"""The networks, by name."""

from multifocal.networks.foreign import Foreign
from multifocal.networks.padding import Padded
from multifocal.networks.prior import start_from_prior
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
    package,
    register,
)

__all__ = [
    "NETWORKS",
    "Foreign",
    "Network",
    "Padded",
    "build",
    "check_options",
    "describe",
    "dimensions",
    "lasting",
    "names",
    "options",
    "package",
    "register",
    "start_from_prior",
]
