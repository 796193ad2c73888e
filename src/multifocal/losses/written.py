"""Sums of terms as data: the YAML form of `0.9 * Tversky(alpha=0.3) + 0.1 * LogHausdorff()`."""

from collections.abc import Callable
from typing import Any

from pydantic import Field

from multifocal.config import Config, Name, check_arguments, validate
from multifocal.errors import unknown_name
from multifocal.losses.algebra import Expression, Sum, Term
from multifocal.losses.criteria import (
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
from multifocal.losses.detection import Center, FalseRate, MissedRate
from multifocal.losses.schedules import Constant, Linear, Schedule, Steps
from multifocal.losses.structure import MultiScaleSimilarity


def _gdf(*, gamma: float = 2.0) -> Mix:
    return Mix("gdf", ((GeneralizedDice(), 1.0), (Focal(gamma=gamma), 1.0)))


def _dice_ce() -> Mix:
    return Mix("dice-ce", ((Dice(), 1.0), (CrossEntropy(), 1.0)))


TERMS: dict[str, Callable[..., Term]] = {
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "generalized-dice": GeneralizedDice,
    "ce": CrossEntropy,
    "focal": Focal,
    "hausdorff-dt": Hausdorff,
    "log-hausdorff-dt": LogHausdorff,
    "gdf": _gdf,
    "dice-ce": _dice_ce,
    "missed": MissedRate,
    "false": FalseRate,
    "ms-ssim": MultiScaleSimilarity,
    "center": lambda: Center(),
}


class Ramp(Config):
    """A weight that goes from `first` to `last` in a straight line over training."""

    first: float
    last: float


class Stages(Config):
    """A weight that is `values[i]` from the i-th of `starts` on, shares of training that rise from 0."""

    starts: tuple[float, ...]
    values: tuple[float, ...]


class WrittenTerm(Config):
    """One term: what is measured, where, and with what weight."""

    term: Name
    weight: float | Ramp | Stages = Field(default=1.0, union_mode="left_to_right")
    over: str | None = None
    options: dict[str, Any] = {}


class _Written(Config):
    terms: tuple[WrittenTerm, ...] = Field(min_length=1)


def compound(*, terms: list[dict[str, Any]]) -> Expression:
    """Return the sum of terms written as data.

    Args:
        terms: each `{term, weight, over, options}`; the weight is a number, `{first, last}` or `{starts, values}`.

    Raises:
        UserError: a term, a partition or an option that there is not.

    Example:
        >>> compound(terms=[{"term": "tversky", "weight": 0.9}, {"term": "dice", "over": "blobs"}]).build().weights
        {'tversky': 0.9, 'dice over blobs': 1.0}
    """
    written = validate(_Written, {"terms": terms}, where="loss compound")
    return Sum(tuple((_term(one), _weight(one.weight)) for one in written.terms))


def _term(written: WrittenTerm) -> Term:
    if written.term not in TERMS:
        raise unknown_name("term", written.term, TERMS)
    check_arguments(TERMS[written.term], written.options, where=f"options of term {written.term}")
    term = TERMS[written.term](**written.options)
    return term if written.over is None else term.over(written.over)


def _weight(weight: float | Ramp | Stages) -> Schedule:
    if isinstance(weight, Ramp):
        return Linear(weight.first, weight.last)
    if isinstance(weight, Stages):
        return Steps(starts=weight.starts, values=weight.values)
    return Constant(weight)
