"""The losses: what is measured (criteria), where (partitions), and the published ones by name."""

from multifocal.losses import named  # noqa: F401  (registers them)
from multifocal.losses.compound import Compound, target_distances
from multifocal.losses.criteria import (
    Criterion,
    CrossEntropy,
    Dice,
    Focal,
    GeneralizedDice,
    Hausdorff,
    Jaccard,
    LogHausdorff,
    Mix,
    Tversky,
)
from multifocal.losses.detection import Center, FalseRate, MissedRate, Proximity
from multifocal.losses.door import Options
from multifocal.losses.instance_terms import instance_terms
from multifocal.losses.registry import build, check_options, describe, names
from multifocal.losses.schedules import Constant, Linear, Steps
from multifocal.losses.structure import MultiScaleSimilarity

__all__ = [
    "Center",
    "Compound",
    "Constant",
    "Criterion",
    "CrossEntropy",
    "Dice",
    "FalseRate",
    "Focal",
    "GeneralizedDice",
    "Hausdorff",
    "Jaccard",
    "Linear",
    "LogHausdorff",
    "MissedRate",
    "Mix",
    "MultiScaleSimilarity",
    "Options",
    "Proximity",
    "Steps",
    "Tversky",
    "build",
    "check_options",
    "describe",
    "instance_terms",
    "names",
    "target_distances",
]
