"""Networks by name, with options checked before anything is built."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from multifocal.config import check_arguments
from multifocal.errors import UserError, unknown_name
from multifocal.networks.padding import Padded

Builder = Callable[..., nn.Module]
_BUILDERS: dict[str, tuple[Builder, int]] = {}


def register(name: str, *, dimensions: int) -> Callable[[Builder], Builder]:
    """Return a decorator that makes a builder known by name, for images of so many dimensions.

    The module it builds has an attribute `multiple`: the sizes it accepts are multiples of it.
    """

    def add(builder: Builder) -> Builder:
        if name in _BUILDERS:
            raise ValueError(f"network name {name!r} is taken by {_BUILDERS[name][0].__qualname__}")
        _BUILDERS[name] = (builder, dimensions)
        return builder

    return add


def names() -> tuple[str, ...]:
    """Return the names of all networks.

    Example:
        >>> names()
        ('unet3d', 'unetpp')
    """
    return tuple(sorted(_BUILDERS))


def describe(name: str) -> str:
    """Return the first line of a network's description."""
    return (inspect.getdoc(_builder(name)[0]) or "").splitlines()[0]


def dimensions(name: str) -> int:
    """Return 2 or 3: what kind of image a network takes."""
    return _builder(name)[1]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise `UserError` for an option that the network does not have, or a value that it cannot be."""
    given = ("in_channels", "out_channels")
    check_arguments(_builder(name)[0], options, where=f"options of network {name}", given=given)


def build(name: str, *, in_channels: int, out_channels: int = 1, **options: Any) -> Padded:
    """Return the named network: `(B, in_channels, *spatial)` to logits `(B, out_channels, *spatial)`, any spatial size.

    Raises:
        UserError: the name or an option is unknown, or an option's value is refused by the network.

    Example:
        >>> import torch
        >>> network = build("unet3d", in_channels=2, features=(4, 8, 16, 32))
        >>> network(torch.zeros(1, 2, 19, 23, 7)).shape
        torch.Size([1, 1, 19, 23, 7])
    """
    check_options(name, options)
    try:
        return Padded(_builder(name)[0](in_channels=in_channels, out_channels=out_channels, **options))
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"network {name}: {error}") from error


def _builder(name: str) -> tuple[Builder, int]:
    if name not in _BUILDERS:
        raise unknown_name("network", name, names())
    return _BUILDERS[name]
