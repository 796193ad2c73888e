"""The losses: what is measured (criteria), where (partitions), and the published ones by name."""

from multifocal.losses import named  # noqa: F401  (registers them)
from multifocal.losses.center import Center
from multifocal.losses.compound import Compound
from multifocal.losses.costs import CrossEntropy, Focal, Hausdorff, LogHausdorff
from multifocal.losses.criteria import Criterion, Mix
from multifocal.losses.distances import target_distances
from multifocal.losses.instance_terms import instance_terms
from multifocal.losses.mixes import dice_ce, gdf
from multifocal.losses.options import Options
from multifocal.losses.overlap import Dice, GeneralizedDice, Jaccard, Tversky
from multifocal.losses.proximity import Proximity
from multifocal.losses.rates import FalseRate, MissedRate
from multifocal.losses.registry import build, check_options, describe, names
from multifocal.losses.schedules import Constant, Linear, Steps
from multifocal.losses.structure import MultiScaleSimilarity
from multifocal.losses.voronoi import target_cells

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
    "dice_ce",
    "gdf",
    "instance_terms",
    "names",
    "target_cells",
    "target_distances",
]
