"""Sums of terms as data: the YAML form of `0.9 * Tversky(alpha=0.3) + 0.1 * LogHausdorff()`."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from multifocal.config import Config, Name, check_names, validate
from multifocal.errors import UserError
from multifocal.losses.loss import TERMS, Expression, Sum, Term
from multifocal.losses.schedules import schedule


class TermConfig(Config):
    """A term and its options, as they stand wherever one term is part of another."""

    term: Name
    options: dict[str, Any] = {}


class WeightedTermConfig(TermConfig):
    """A part of a mix."""

    weight: float = 1.0


class PartitionConfig(Config):
    """A partition and its options."""

    partition: str
    options: dict[str, Any] = {}


class SummedTermConfig(TermConfig):
    """One term of a sum: what is measured, where, and with what weight."""

    weight: Any = 1.0
    over: str | PartitionConfig | None = None


class _SumConfig(Config):
    terms: tuple[SummedTermConfig, ...] = Field(min_length=1)


def from_config(*, terms: list[dict[str, Any]]) -> Expression:
    """Return the sum of terms written as data.

    Args:
        terms: each `{term, weight, over, options}`. The weight is a number, a pair or `{first, last}` for a ramp, or
            `{starts, values}`; `over` a partition's name or `{partition, options}`. A term among options (`criterion`
            of center and proximity, the `parts` of a mix) is a name or `{term, options}`, in a mix with its `weight`.

    Returns:
        The sum, to be built or added to others.

    Raises:
        UserError: a term, a partition or an option that there is not.

    Example:
        >>> from_config(terms=[{"term": "tversky", "weight": 0.9}, {"term": "dice", "over": "blobs"}]).build().weights
        {'tversky': 0.9, 'dice over blobs': 1.0}
    """
    written = validate(_SumConfig, {"terms": terms}, where="loss compound")
    return Sum(tuple((_placed(one), schedule(one.weight)) for one in written.terms))


def _placed(written: SummedTermConfig) -> Term:
    term = _made(written)
    if written.over is None:
        return term
    if isinstance(written.over, str):
        return term.over(written.over)
    return term.over(written.over.partition, **written.over.options)


def _made(written: TermConfig) -> Term:
    make, where = TERMS[written.term], f"options of term {written.term}"
    check_names(make, written.options, where=where)
    try:
        return make(**{name: _decoded(name, value) for name, value in written.options.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _decoded(name: str, value: Any) -> Any:
    """Return an option's value, terms in place of what is written for them."""
    if name == "criterion":
        return _inner(value, TermConfig, _made)
    if name == "parts" and isinstance(value, list):
        return tuple(_inner(part, WeightedTermConfig, lambda one: (_made(one), one.weight)) for part in value)
    return value


def _inner(value: Any, model: type[TermConfig], make: Callable[[Any], Any]) -> Any:
    if isinstance(value, str):
        value = {"term": value}
    if not isinstance(value, Mapping):
        raise UserError(f"{value!r} is no term; expected a name, or a mapping of term and options")
    return make(validate(model, value, where="term"))
