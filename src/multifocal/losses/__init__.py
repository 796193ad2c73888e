"""The losses: what is measured (criteria), where (regions), and the published ones by name.

Inputs become batch sums (per image, lesion and pair), regions give sums, a criterion gives values, the compound weighs
them.
"""

import warnings
from typing import Any

from multifocal.losses.criteria import (
    Criterion,
    CriterionSum,
    CrossEntropy,
    Dice,
    Focal,
    GeneralizedDice,
    Hausdorff,
    Jaccard,
    LogHausdorff,
    Tversky,
    dice_ce,
    gdf,
)
from multifocal.losses.double_sigmoid import DoubleSigmoidFocal
from multifocal.losses.gradient_shares import gradient_shares
from multifocal.losses.inputs import Options
from multifocal.losses.lesion_terms import Center, FalseDiscoveryRate, FalseNegativeRate, Proximity, instance_terms
from multifocal.losses.loss import CompoundLoss, Expression
from multifocal.losses.ms_ssim import MSSSIM
from multifocal.losses.named import build, check_options, describe, names, register
from multifocal.losses.precomputed import target_cells, target_distances
from multifocal.losses.schedules import ConstantWeight, LinearRamp, StepWeights

__all__ = [
    "MSSSIM",
    "Center",
    "CompoundLoss",
    "ConstantWeight",
    "Criterion",
    "CriterionSum",
    "CrossEntropy",
    "Dice",
    "DoubleSigmoidFocal",
    "Expression",
    "FalseDiscoveryRate",
    "FalseNegativeRate",
    "Focal",
    "GeneralizedDice",
    "Hausdorff",
    "Jaccard",
    "LinearRamp",
    "LogHausdorff",
    "Options",
    "Proximity",
    "StepWeights",
    "Tversky",
    "build",
    "check_options",
    "describe",
    "dice_ce",
    "gdf",
    "gradient_shares",
    "instance_terms",
    "names",
    "register",
    "target_cells",
    "target_distances",
]

_FORMER_NAMES = {
    "Compound": CompoundLoss,
    "Constant": ConstantWeight,
    "FalseRate": FalseDiscoveryRate,
    "Linear": LinearRamp,
    "MissedRate": FalseNegativeRate,
    "Mix": CriterionSum,
    "MultiScaleSimilarity": MSSSIM,
    "Steps": StepWeights,
}


def __getattr__(name: str) -> Any:
    """Return what had another name before."""
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _FORMER_NAMES[name]
    warnings.warn(f"losses.{name} is now losses.{found.__name__}", DeprecationWarning, stacklevel=2)
    return found
