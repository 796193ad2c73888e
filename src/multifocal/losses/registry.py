"""The losses by name."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from multifocal.config import check_arguments
from multifocal.errors import UserError, unknown_name
from multifocal.losses.algebra import Expression
from multifocal.losses.compound import Compound
from multifocal.losses.options import Options
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
    """Return the names of all losses.

    Example:
        >>> names()[:3]
        ('dice', 'dice-ce', 'generalized-dice')
    """
    return tuple(BUILDERS)


def describe(name: str) -> str:
    """Return the one-line definition of a loss.

    Example:
        >>> describe("cc-dice")
        "Dice over the lesions' Voronoi cells (CC-Dice)."
    """
    return (inspect.getdoc(_builder(name)) or "").splitlines()[0]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise `UserError` for an option that the loss does not have, or a value that it cannot be.

    Example:
        >>> check_options("ici", {"side": 2})
        Traceback (most recent call last):
        multifocal.errors.UserError: options of loss ici: Center: side=2; expected an odd number of voxels
    """
    build(name, **options)


def build(name: str, /, **options: Any) -> Compound:
    """Return the named loss: `loss(logits, target)` is a scalar, `loss.terms(logits, target)` its unweighted terms.

    Args:
        name: one of `names()`, or "compound", whose option `terms` lists any terms and weights.
        options: those of the loss, and of every loss: activation, spacing, connectivity, threshold,
            include_background, relaxed (see `Options`).

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> import torch
        >>> loss = build("tversky", alpha=0.3, beta=0.7)
        >>> round(float(loss(torch.full((1, 1, 8, 8), 9.0), torch.ones(1, 1, 8, 8))), 3)
        0.0
    """
    where = f"options of loss {name}"
    check_arguments(_with_common(_builder(name)), options, where=where)
    own = {key: value for key, value in options.items() if key not in _COMMON}
    common = {key: value for key, value in options.items() if key in _COMMON}
    try:
        return Compound(_builder(name)(**own), **common)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _with_common(builder: Builder) -> Callable[..., Any]:
    """Return a function with the builder's arguments and those of every loss, to check options against."""

    def both() -> None: ...

    own, common = inspect.signature(builder).parameters, inspect.signature(Options).parameters
    parameters = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in {**own, **common}.items()
    }
    both.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    both.__annotations__ = {
        **get_type_hints(builder, include_extras=True),
        **get_type_hints(Options, include_extras=True),
    }
    return both


def _builder(name: str) -> Builder:
    if name == COMPOUND:
        return compound
    if not isinstance(name, str) or name not in BUILDERS:
        raise unknown_name("loss", str(name), (*names(), COMPOUND))
    return BUILDERS[name]
