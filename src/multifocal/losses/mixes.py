"""Criteria that are always met together."""

from typing import Literal

from multifocal.losses.costs import CrossEntropy, Focal
from multifocal.losses.criteria import Mix
from multifocal.losses.overlap import Dice, GeneralizedDice


def gdf(*, gamma: float = 2.0, weighting: Literal["monai", "normalized"] = "monai") -> Mix:
    """Return generalized Dice + focal as one criterion.

    Example:
        >>> gdf().over("blobs").name
        'gdf over blobs'
    """
    return Mix("gdf", ((GeneralizedDice(weighting=weighting), 1.0), (Focal(gamma=gamma), 1.0)))


def dice_ce() -> Mix:
    """Return Dice + cross-entropy as one criterion.

    Example:
        >>> dice_ce().over("cells").name
        'dice-ce over cells'
    """
    return Mix("dice-ce", ((Dice(), 1.0), (CrossEntropy(), 1.0)))
