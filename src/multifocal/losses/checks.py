"""What input must be: each check says the argument, its value and what was expected."""

import numpy as np
import torch

from multifocal.losses.options import Options


def foreground(target: torch.Tensor) -> np.ndarray:
    """Return the flat indices where the target is 1.

    Raises:
        ValueError: the target holds something else than 0 and 1.

    Example:
        >>> foreground(torch.tensor([[0, 1], [1, 0]])).tolist()
        [1, 2]
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


def check_logits(logits: torch.Tensor, options: Options) -> None:
    """Raise ValueError for a type, a shape or channels that no loss with these options takes."""
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"logits is a {type(logits).__name__}; expected a tensor")
    if not logits.is_floating_point():
        raise ValueError(f"logits has dtype {logits.dtype}; expected a floating-point type")
    if logits.ndim not in (4, 5):
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected (B, C, X, Y) or (B, C, X, Y, Z)")
    if logits.numel() == 0:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected at least one voxel")
    if options.activation == "softmax" and logits.shape[1] == 1:
        raise ValueError("logits has 1 channel; expected 2 or more with activation='softmax'")
    if options.include_background is False and logits.shape[1] == 1:
        raise ValueError("logits has 1 channel; expected 2 or more with include_background=False")
    if options.spacing is not None and len(options.spacing) != logits.ndim - 2:
        raise ValueError(f"spacing={options.spacing}; expected {logits.ndim - 2} numbers, one for each axis")


def check_target_alone(target: torch.Tensor) -> None:
    """Raise ValueError for a target of no loss."""
    if not isinstance(target, torch.Tensor):
        raise ValueError(f"target is a {type(target).__name__}; expected a tensor")
    if target.is_complex():
        raise ValueError(f"target has dtype {target.dtype}; expected zeros and ones of a real type")
    if target.ndim not in (4, 5):
        raise ValueError(f"target has shape {tuple(target.shape)}; expected (B, C, X, Y) or (B, C, X, Y, Z)")


def check_target(target: torch.Tensor, logits: torch.Tensor) -> None:
    """Raise ValueError for a target that does not lie beside the logits."""
    check_target_alone(target)
    if target.shape != logits.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}; expected that of logits, {tuple(logits.shape)}")
    if target.device != logits.device:
        raise ValueError(f"target is on {target.device}; expected it on {logits.device}, with logits")


def check_values(logits: torch.Tensor, options: Options) -> None:
    """Raise ValueError for NaN, infinities, and probabilities outside 0 to 1."""
    low, high = (float(end) for end in logits.detach().aminmax())
    if low != low:
        raise ValueError("logits holds NaN; expected numbers")
    if options.activation == "none" and (low < 0 or high > 1):
        raise ValueError(f"logits ranges from {low:.6g} to {high:.6g}; expected probabilities with activation='none'")
    if low == -np.inf or high == np.inf:
        raise ValueError(f"logits ranges from {low:.6g} to {high:.6g}; expected finite numbers")


def check_precomputed(name: str, value: torch.Tensor | None, target: torch.Tensor) -> None:
    """Raise ValueError for something of another type or shape than the target's lesions or distances have."""
    if value is None:
        return
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; expected a tensor")
    whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    kinds = {"instances": "integer labels, 0 for background", "cells": "integer numbers of the nearest lesion"}
    expected = kinds.get(name, "a floating-point type")
    if whole if name == "distances" else not whole:
        raise ValueError(f"{name} has dtype {value.dtype}; expected {expected}")
    if value.shape != target.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected that of the logits, {tuple(target.shape)}")
