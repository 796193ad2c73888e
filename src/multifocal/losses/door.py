"""The door of the losses: input is checked and brought into one form here, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from multifocal.errors import unknown_name
from multifocal.instances import Connectivity
from multifocal.losses.split import LOG_PROBABILITIES, LOGITS, PROBABILITIES, Source

Activation = Literal["sigmoid", "softmax", "none"]


@dataclass(frozen=True)
class Options:
    """How input is to be read.

    Args:
        activation: "sigmoid" and "softmax" (over the channels) take logits, "none" takes probabilities.
        spacing: mm per voxel along each axis, for distances; None counts in voxels.
        connectivity: what joins voxels to one component.
        threshold: voxels with p >= threshold are predicted foreground.

    Raises:
        ValueError: an option that cannot be.
    """

    activation: Activation = "sigmoid"
    spacing: tuple[float, ...] | None = None
    connectivity: Connectivity = "full"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.activation not in get_args(Activation):
            raise unknown_name("activation", str(self.activation), get_args(Activation))
        if self.connectivity not in get_args(Connectivity):
            raise unknown_name("connectivity", str(self.connectivity), get_args(Connectivity))
        if self.spacing is not None and not all(side > 0 for side in self.spacing):
            raise ValueError(f"spacing={self.spacing}; expected positive mm per voxel")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold={self.threshold}; expected a probability between 0 and 1")


def check(logits: torch.Tensor, target: torch.Tensor, options: Options) -> None:
    """Raise ValueError for shapes, types or ranks that do not fit."""
    for name, value in (("logits", logits), ("target", target)):
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}; expected a tensor")
    if not logits.is_floating_point():
        raise ValueError(f"logits has dtype {logits.dtype}; expected a floating-point type")
    if target.is_complex():
        raise ValueError(f"target has dtype {target.dtype}; expected zeros and ones of a real type")
    if logits.ndim not in (4, 5):
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected (B, C, X, Y) or (B, C, X, Y, Z)")
    if logits.numel() == 0:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected at least one voxel")
    if target.shape != logits.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}; expected that of logits, {tuple(logits.shape)}")
    if target.device != logits.device:
        raise ValueError(f"target is on {target.device}; expected it on {logits.device}, with logits")
    if options.activation == "softmax" and logits.shape[1] == 1:
        raise ValueError("logits has 1 channel; expected 2 or more with activation='softmax'")
    if options.spacing is not None and len(options.spacing) != logits.ndim - 2:
        raise ValueError(f"spacing={options.spacing}; expected {logits.ndim - 2} numbers, one for each axis")


def probabilities(logits: torch.Tensor, options: Options) -> tuple[torch.Tensor, Source]:
    """Return the network's output as (images, voxels) of at least 32 bits, and how to read it.

    Raises:
        ValueError: NaN, or probabilities outside 0 to 1.
    """
    x = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
    low, high = (float(end) for end in x.detach().aminmax())
    if low != low:
        raise ValueError("logits holds NaN; expected numbers")
    if options.activation == "softmax":
        x = torch.log_softmax(x, dim=1)
    elif options.activation == "none" and (low < 0 or high > 1):
        raise ValueError(f"logits ranges from {low:.6g} to {high:.6g}; expected probabilities with activation='none'")
    source = {"sigmoid": LOGITS, "softmax": LOG_PROBABILITIES, "none": PROBABILITIES}[options.activation]
    # Contiguous, because everything after counts voxels in a row: one channel of many, say, is not.
    return x.reshape(x.shape[0] * x.shape[1], -1).contiguous(), source


def foreground(target: torch.Tensor) -> np.ndarray:
    """Return the flat indices where the target is 1.

    Raises:
        ValueError: the target holds something else than 0 and 1.
    """
    flat = target.detach().reshape(-1)
    if flat.device.type != "cpu":
        where = torch.nonzero(flat).view(-1)
        values, found = flat[where], where.cpu().numpy()
    else:
        # NumPy compares and searches several times faster than torch does.
        flat = flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat
        found = np.flatnonzero(flat.numpy() if flat.dtype == torch.bool else flat.numpy() != 0)
        values = flat[torch.from_numpy(found)]
    if values.dtype != torch.bool and not bool((values == 1).all()):
        wrong = values[values != 1][0].item()
        raise ValueError(f"target holds {wrong:.6g}; expected only 0 and 1")
    return found


def like_target(name: str, value: torch.Tensor | np.ndarray, shape: Sequence[int]) -> None:
    """Raise ValueError if something precomputed has not the target's shape."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected that of the target, {tuple(shape)}")
