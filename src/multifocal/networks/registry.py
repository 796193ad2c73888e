"""Networks by name, with options checked before anything is built."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from multifocal.config import check_arguments
from multifocal.errors import UserError, unknown_name
from multifocal.networks.foreign import Foreign
from multifocal.networks.padding import Padded
from multifocal.networks.prior import check_prior, start_from_prior
from multifocal.registry import Registry

Builder = Callable[..., nn.Module]
_PRIOR = "prior"  # an option of every network: of its own, or else of ours
_GIVEN = ("in_channels", "out_channels", "spatial_dims")


@dataclass(frozen=True)
class Network:
    """An architecture that can be built by name.

    Attributes:
        builder: a function or class with the keyword arguments `in_channels`, `out_channels` and the options. The
            module it makes has an attribute `multiple`: the sizes it accepts are multiples of it.
        dimensions: 2 or 3: what kind of image it takes.
        check: called with the options; raises ValueError for options that do not fit together. None checks nothing.
        foreign: the class of another package whose arguments are options, too. The builder takes them as `**options`.
        starts: options that only say from which weights training starts.
        package: of another's, which the builder imports; None where it is that of the foreign class, or none.
        outputs: called with the options; how many outputs deep supervision can have. None is one.

    Example:
        >>> NETWORKS["unet3d"].dimensions
        3
    """

    builder: Builder
    dimensions: int
    check: Callable[..., None] | None = None
    foreign: Foreign | None = None
    starts: tuple[str, ...] = ()
    package: str | None = None
    outputs: Callable[..., int] | None = None


NETWORKS: Registry[Network] = Registry(
    "network",
    package="multifocal.networks",
    group="multifocal.networks",
    callable_of=lambda network: network.builder,
)


def register(
    name: str,
    *,
    dimensions: int,
    check: Callable[..., None] | None = None,
    foreign: Foreign | None = None,
    starts: tuple[str, ...] = (),
    package: str | None = None,
    outputs: Callable[..., int] | None = None,
) -> Callable[[Builder], Builder]:
    """Return a decorator that makes a builder known by name.

    Args:
        name: what users write in a recipe.
        dimensions: 2 or 3: what kind of image the network takes.
        check: called with the options a user gave; raises ValueError for options that do not fit together. So they are
            refused without a network being built.
        foreign: the class of another package whose arguments are options, too. The builder takes them as `**options`.
        starts: options that only say from which weights training starts.
        package: of another's, which the builder imports; None where it is that of the foreign class, or none.
        outputs: called with the options; returns how many outputs deep supervision can have. What the builder makes
            then has an attribute `levels`, a `multifocal.networks.Level` for each but the full one, finest first. None
            is one output.

    Returns:
        The decorator, which gives back the builder: a function or class with the keyword arguments `in_channels`,
        `out_channels` and the options; one that has `spatial_dims` is told `dimensions`. What it builds maps
        `(B, in_channels, *spatial)` to logits `(B, out_channels, *spatial)` and has an attribute `multiple`: the sizes
        it accepts are multiples of it.

    Raises:
        ValueError: the name is taken (when the decorator is called).

    Example:
        >>> _ = names()
        >>> @register("unet3d", dimensions=3)
        ... class Mine(nn.Module):
        ...     pass
        Traceback (most recent call last):
        ValueError: network name 'unet3d' is taken by multifocal.networks.unet3d.UNet3d
    """

    def add(builder: Builder) -> Builder:
        NETWORKS.register(name, Network(builder, dimensions, check, foreign, starts, package, outputs))
        return builder

    return add


def names() -> tuple[str, ...]:
    """Return the names of all networks, sorted.

    Returns:
        The names.

    Example:
        >>> "unet3d" in names()
        True
    """
    return tuple(sorted(NETWORKS))


def describe(name: str) -> str:
    """Return the first line of a network's description.

    Args:
        name: one of `names()`.

    Returns:
        One line of text.

    Raises:
        UserError: there is no such network.

    Example:
        >>> describe("unet3d").partition(":")[0]
        '3D U-Net'
    """
    return NETWORKS.describe(name)


def dimensions(name: str) -> int:
    """Return 2 or 3: what kind of image a network takes.

    Args:
        name: one of `names()`.

    Returns:
        The number of spatial axes.

    Raises:
        UserError: there is no such network.

    Example:
        >>> dimensions("unetpp")
        2
    """
    return NETWORKS.get(name).dimensions


def package(name: str) -> str | None:
    """Return the package of others that a network is built with.

    Args:
        name: one of `names()`.

    Returns:
        What is imported; None where there is no such package.

    Raises:
        UserError: there is no such network.

    Example:
        >>> package("unet3d"), package("unetpp")
        (None, 'segmentation_models_pytorch')
    """
    network = NETWORKS.get(name)
    return network.package or (network.foreign.module.partition(".")[0] if network.foreign else None)


def outputs(name: str, options: Mapping[str, Any]) -> int:
    """Return how many outputs deep supervision can have of a network, its own one included.

    Args:
        name: one of `names()`.
        options: by name, which are checked.

    Returns:
        The number; 1 where there is nothing to supervise but the output.

    Raises:
        UserError: there is no such network.

    Example:
        >>> outputs("unet3d", {}), outputs("segresnet", {})
        (3, 1)
    """
    counted = NETWORKS.get(name).outputs
    return 1 if counted is None else counted(**options)


def options(name: str) -> dict[str, Any]:
    """Return the options of a network, with their defaults.

    Args:
        name: one of `names()`.

    Returns:
        Defaults by name, its own first; `inspect.Parameter.empty` where it has none.

    Raises:
        UserError: there is no such network, or the package that it comes from is not installed.

    Example:
        >>> options("unet3d")["norm"]
        'batch'
    """
    own = {key: default for key, (_, default) in NETWORKS.options(name).items() if key not in _GIVEN}
    found = own if _has_prior(name) else {**own, _PRIOR: None}
    foreign = NETWORKS.get(name).foreign
    return found if foreign is None else {**_told(name, foreign.options, {}), **found}


def lasting(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a trained network is built with: all but those that say where training started.

    So a run predicts where its pretrained weights are no longer.

    Args:
        name: one of `names()`.
        options: by name.

    Returns:
        The options that matter still.

    Raises:
        UserError: there is no such network.

    Example:
        >>> lasting("smp-unet", {"encoder": "resnet18", "weights": "mine.safetensors"})
        {'encoder': 'resnet18'}
    """
    starts = NETWORKS.get(name).starts if _has_prior(name) else (*NETWORKS.get(name).starts, _PRIOR)
    return {key: value for key, value in options.items() if key not in starts}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a network does not have, values it does not take, and what does not fit together.

    Nothing is built.

    Args:
        name: one of `names()`.
        options: by name.

    Raises:
        UserError: the first problem.

    Example:
        >>> check_options("unet3d", {"features": [8, 16], "dropout": [0.1]})
        Traceback (most recent call last):
        multifocal.errors.UserError: network unet3d: features=[8, 16] and dropout=[0.1]: expected two lists of one \
length, at least 2
    """
    network = NETWORKS.get(name)
    own = {**({} if _has_prior(name) else {_PRIOR: None}), **NETWORKS.options(name)}
    theirs = [] if network.foreign is None else [key for key in options if key not in own or key in _GIVEN]
    if network.foreign is not None and theirs:
        known = {**own, **_told(name, network.foreign.options, {})}
        choices = [key for key in known if key not in _GIVEN]
        for key in theirs:
            if key not in choices:
                raise UserError(f"options of network {name}: {unknown_name('key', key, choices)}")
    check_arguments(
        network.builder,
        {key: options[key] for key in options if key not in theirs},
        where=f"options of network {name}",
        given=_GIVEN,
        also=None if _has_prior(name) else check_prior,
    )
    check = network.check
    if check is not None:
        _told(name, check, options)


def build(name: str, *, in_channels: int, out_channels: int = 1, **options: Any) -> Padded:
    """Return the named network: `(B, in_channels, *spatial)` to logits `(B, out_channels, *spatial)`, any spatial size.

    Args:
        name: one of `names()`.
        in_channels: channels of the images.
        out_channels: channels of the logits.
        **options: the network's own; and `prior`, the probability that it gives every voxel before it is trained.

    Returns:
        The network with random weights, behind padding.

    Raises:
        UserError: the name or an option is unknown, or an option's value is refused by the network.

    Example:
        >>> import torch
        >>> network = build("unet3d", in_channels=2, features=(4, 8, 16, 32))
        >>> network(torch.zeros(1, 2, 19, 23, 7)).shape
        torch.Size([1, 1, 19, 23, 7])
    """
    check_options(name, options)
    shape = {"in_channels": in_channels, "out_channels": out_channels}
    network = NETWORKS.get(name)
    if "spatial_dims" in inspect.signature(network.builder).parameters:
        shape["spatial_dims"] = network.dimensions
    prior = None if _has_prior(name) else options.pop(_PRIOR, None)
    built = _told(name, network.builder, {**shape, **options})
    if prior is not None:
        _told(name, start_from_prior, {"network": built, "prior": prior, "out_channels": out_channels})
    return Padded(built, out_channels=out_channels)


def _has_prior(name: str) -> bool:
    """Return whether a network deals with its prior itself."""
    return _PRIOR in NETWORKS.options(name)


def _told(name: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function of a network's author, whose ValueError is about the options."""
    try:
        return function(**arguments)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"network {name}: {error}") from error
