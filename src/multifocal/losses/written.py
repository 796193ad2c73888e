"""Sums of terms as data: the YAML form of `0.9 * Tversky(alpha=0.3) + 0.1 * LogHausdorff()`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from multifocal.config import Config, Name, validate
from multifocal.errors import UserError, unknown_name
from multifocal.losses.algebra import Expression, Sum, Term
from multifocal.losses.center import Center
from multifocal.losses.costs import CrossEntropy, Focal, Hausdorff, LogHausdorff
from multifocal.losses.criteria import Mix
from multifocal.losses.mixes import dice_ce, gdf
from multifocal.losses.overlap import Dice, GeneralizedDice, Jaccard, Tversky
from multifocal.losses.proximity import Proximity
from multifocal.losses.rates import FalseRate, MissedRate
from multifocal.losses.schedules import schedule
from multifocal.losses.structure import MultiScaleSimilarity

TERMS: dict[str, Callable[..., Term]] = {
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "generalized-dice": GeneralizedDice,
    "ce": CrossEntropy,
    "focal": Focal,
    "hausdorff-dt": Hausdorff,
    "log-hausdorff-dt": LogHausdorff,
    "gdf": gdf,
    "dice-ce": dice_ce,
    "mix": Mix,
    "center": Center,
    "missed": MissedRate,
    "false": FalseRate,
    "proximity": Proximity,
    "ms-ssim": MultiScaleSimilarity,
}


class WrittenTerm(Config):
    """A term and its options, as they stand wherever one term is part of another."""

    term: Name
    options: dict[str, Any] = {}


class WeightedTerm(WrittenTerm):
    """A part of a mix."""

    weight: float = 1.0


class WrittenPartition(Config):
    """A partition and its options."""

    partition: str
    options: dict[str, Any] = {}


class SummedTerm(WrittenTerm):
    """One term of a sum: what is measured, where, and with what weight."""

    weight: Any = 1.0
    over: str | WrittenPartition | None = None


class _Written(Config):
    terms: tuple[SummedTerm, ...] = Field(min_length=1)


def compound(*, terms: list[dict[str, Any]]) -> Expression:
    """Return the sum of terms written as data.

    Args:
        terms: each `{term, weight, over, options}`. The weight is a number, a pair or `{first, last}` for a ramp, or
            `{starts, values}`; `over` a partition's name or `{partition, options}`. A term among options (`criterion`
            of center and proximity, the `parts` of a mix) is a name or `{term, options}`, in a mix with its `weight`.

    Raises:
        UserError: a term, a partition or an option that there is not.

    Example:
        >>> compound(terms=[{"term": "tversky", "weight": 0.9}, {"term": "dice", "over": "blobs"}]).build().weights
        {'tversky': 0.9, 'dice over blobs': 1.0}
    """
    written = validate(_Written, {"terms": terms}, where="loss compound")
    return Sum(tuple((_placed(one), schedule(one.weight)) for one in written.terms))


def _placed(written: SummedTerm) -> Term:
    term = _made(written)
    if written.over is None:
        return term
    if isinstance(written.over, str):
        return term.over(written.over)
    return term.over(written.over.partition, **written.over.options)


def _made(written: WrittenTerm) -> Term:
    if written.term not in TERMS:
        raise unknown_name("term", written.term, TERMS)
    make, where = TERMS[written.term], f"options of term {written.term}"
    parameters = inspect.signature(make).parameters
    for name in written.options:
        if name not in parameters:
            raise UserError(f"{where}: {unknown_name('key', name, parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in written.options:
            raise UserError(f"{where}: {name} is missing")
    try:
        return make(**{name: _decoded(name, value) for name, value in written.options.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _decoded(name: str, value: Any) -> Any:
    """Return an option's value, terms in place of what is written for them."""
    if name == "criterion":
        return _inner(value, WrittenTerm, _made)
    if name == "parts" and isinstance(value, list):
        return tuple(_inner(part, WeightedTerm, lambda one: (_made(one), one.weight)) for part in value)
    return value


def _inner(value: Any, model: type[WrittenTerm], make: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        value = {"term": value}
    if not isinstance(value, Mapping):
        raise UserError(f"{value!r} is no term; expected a name, or a mapping of term and options")
    return make(validate(model, value, where="term"))
