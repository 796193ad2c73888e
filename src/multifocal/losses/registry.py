"""The losses by name."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from multifocal.config import check_arguments
from multifocal.errors import unknown_name
from multifocal.losses.algebra import Expression
from multifocal.losses.compound import Compound
from multifocal.losses.door import Options
from multifocal.losses.written import compound

Builder = Callable[..., Expression]
COMPOUND = "compound"  # not one loss but the form of any: its terms are options
BUILDERS: dict[str, Builder] = {}
_COMMON = tuple(field.name for field in fields(Options))


def named(name: str) -> Callable[[Builder], Builder]:
    """Register the function that writes a loss down."""

    def add(builder: Builder) -> Builder:
        if name in BUILDERS:
            raise ValueError(f"there is a loss named {name!r} already")
        BUILDERS[name] = builder
        return builder

    return add


def names() -> tuple[str, ...]:
    """Return the names of all losses."""
    return tuple(BUILDERS)


def describe(name: str) -> str:
    """Return the one-line definition of a loss."""
    return (inspect.getdoc(_builder(name)) or "").splitlines()[0]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise `UserError` for an option that the loss does not have, or a value that it cannot be."""
    check_arguments(_with_common(_builder(name)), options, where=f"options of loss {name}")
    if name == COMPOUND:
        compound(terms=options["terms"])


def build(name: str, **options: Any) -> Compound:
    """Return the named loss: `loss(logits, target)` is a scalar, `loss.terms(logits, target)` its unweighted terms.

    Args:
        name: one of `names()`, or "compound", whose option `terms` lists any terms and weights.
        options: those of the loss, and of every loss: activation, spacing, connectivity, threshold (see `Options`).

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> import torch
        >>> loss = build("tversky", alpha=0.3, beta=0.7)
        >>> round(float(loss(torch.full((1, 1, 8, 8), 9.0), torch.ones(1, 1, 8, 8))), 3)
        0.0
    """
    check_options(name, options)
    own = {key: value for key, value in options.items() if key not in _COMMON}
    common = {key: value for key, value in options.items() if key in _COMMON}
    if isinstance(common.get("spacing"), list):
        common["spacing"] = tuple(common["spacing"])
    return Compound(_builder(name)(**own), **common)


def _with_common(builder: Builder) -> Callable[..., Any]:
    """Return a function with the builder's arguments and those of every loss, to check options against."""

    def both() -> None: ...

    own, common = inspect.signature(builder).parameters, inspect.signature(Options).parameters
    parameters = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in {**own, **common}.items()
    }
    both.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    both.__annotations__ = {**get_type_hints(builder), **get_type_hints(Options)}
    return both


def _builder(name: str) -> Builder:
    if name == COMPOUND:
        return compound
    if name not in BUILDERS:
        raise unknown_name("loss", str(name), (*names(), COMPOUND))
    return BUILDERS[name]
