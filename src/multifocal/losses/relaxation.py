"""Published values with gradients that train ("straight-through")."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from multifocal.losses.criteria import Sums


def through(value: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Return the value with the gradient of its soft stand-in.

    Example:
        >>> x = torch.tensor(0.3, requires_grad=True)
        >>> y = through(x.round(), 2 * x)
        >>> y.backward()
        >>> y.item(), x.grad.item()
        (0.0, 2.0)
    """
    return value.detach() + (soft - soft.detach())


def where_empty(value: torch.Tensor, sums: "Sums", empty: torch.Tensor) -> torch.Tensor:
    """Return a ratio's value; where nothing is true, with the gradient of the region's mean p.

    There `1 - s / (Σp + s)` is 1 as soon as anything is predicted, and its own gradient all but zero.

    Args:
        value: (regions, channels), or (regions,) of all channels together.
        sums: that it was made of.
        empty: where nothing is true, of the value's shape.

    Example:
        >>> from multifocal.losses import Dice
        >>> p = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
        >>> Dice().build(activation="none")(p, torch.zeros(1, 1, 4, 4)).backward()
        >>> p.grad.unique().item() * 16
        1.0
    """
    if sums.extent is None or not bool(empty.any()):
        return value
    mean = sums.predicted / sums.extent
    return torch.where(empty, through(value, mean if value.ndim == 2 else mean.mean(1)), value)
