"""Start a network from how rare lesions are."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

Prior = Annotated[float, Field(gt=0, lt=1)]
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def start_from_prior(network: nn.Module, prior: float, *, out_channels: int = 1, softmax: bool = False) -> None:
    """Set the bias of a network's head to ln(p / (1 - p)), so that it gives about the probability p everywhere.

    Lesions are rare: started at 0.5, a network spends its first epochs on learning that (Lin et al. 2017, section 4.1).
    The head is the last convolution with as many outputs as there are channels of logits.

    Args:
        network: from images to logits.
        prior: probability of a voxel, in (0, 1).
        out_channels: channels of the logits.
        softmax: whether these share one probability, of which the first is the background's: then p is that of all
            others together, by the biases ln(1 - p) and ln(p / (channels - 1)).

    Raises:
        ValueError: there is no such convolution, or it has no bias.

    Example:
        >>> network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Conv3d(4, 1, 1))
        >>> start_from_prior(network, 0.01)
        >>> round(torch.sigmoid(network[2].bias).item(), 4)
        0.01
    """
    name = head_name(network, out_channels=out_channels)
    bias = None if name is None else network.get_submodule(name).bias
    if bias is None:
        found = "has no bias" if name is not None else f"is missing: no convolution has {out_channels} outputs"
        raise ValueError(f"prior={prior}: the head {found}; leave prior out")
    with torch.no_grad():
        bias.fill_(math.log(prior / (out_channels - 1 if softmax else 1 - prior)))  # type: ignore[operator]
        if softmax:
            bias[0] = math.log(1 - prior)  # type: ignore[index,operator]


def head_name(network: nn.Module, *, out_channels: int) -> str | None:
    """Return the name of a network's head: the last convolution with as many outputs as there are channels of logits.

    Args:
        network: from images to logits.
        out_channels: channels of the logits.

    Returns:
        The part's name; None where there is no such convolution.

    Example:
        >>> head_name(nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Conv3d(4, 1, 1)), out_channels=1)
        '2'
    """
    parts = network.named_modules()
    heads = [name for name, part in parts if isinstance(part, _CONVOLUTIONS) and part.out_channels == out_channels]
    return heads[-1] if heads else None


def check_prior(*, prior: Prior | None = None) -> None:
    """Say what type the option has that every network has.

    Args:
        prior: probability that the untrained network gives every voxel. None leaves the bias random.
    """
