"""Sums over millions of voxels and their gradient, in pieces that stay in the processor's cache.

Nothing of the image's size is written but the gradient. Torch shares each piece out to its threads; threads of Python's
would wait for each other between operations as short as these.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from multifocal.losses.sources import Source

if TYPE_CHECKING:
    from multifocal.losses.split import Plan

# Voxels at a time: a share for each of eight threads.
_PIECE = 1 << 18

Piece = tuple[int, slice, torch.Tensor]


def sums(x: torch.Tensor, plan: "Plan") -> torch.Tensor:
    """Return the sums over each group's background, (quantities, groups), in float64."""
    costly = any(quantity.costly for quantity in plan.quantities)
    table = np.zeros((len(plan.quantities), plan.count))
    for image, where, ones in plan.pieces:
        p, c = plan.source.background(x[image, where], ones, costly=costly)
        for row, (quantity, field) in enumerate(zip(plan.quantities, plan.fields, strict=True)):
            value = quantity.background(p, c, None if field is None else field[image, where])
            if plan.groups is None:
                table[row, image] += value.sum().item()
            else:
                from multifocal.kernels.sums import add_by

                add_by(plan.groups[image, where].numpy(), value.numpy(), table[row])
    return torch.from_numpy(table)


def pass_back(x: torch.Tensor, plan: "Plan", of_sums: torch.Tensor, gradient: torch.Tensor) -> None:
    """Write the gradient of the background's sums. At the foreground's probabilities it means nothing."""
    costly = any(quantity.costly_slope for quantity in plan.quantities)
    for image, where, ones in plan.pieces:
        p, c = plan.source.background(x[image, where], ones, costly=costly)
        by_p: torch.Tensor | None = None
        by_c: torch.Tensor | None = None
        groups = None if plan.groups is None else plan.groups[image, where].int()
        for row, (quantity, field) in enumerate(zip(plan.quantities, plan.fields, strict=True)):
            weight = of_sums[row, image] if groups is None else of_sums[row].index_select(0, groups)
            first, second = quantity.slopes(p, c, None if field is None else field[image, where])
            by_p, by_c = _plus(by_p, weight, first), _plus(by_c, weight, second)
        plan.source.chain(p, by_p, by_c, out=gradient[image, where])


def above(x: torch.Tensor, source: Source, threshold: float, *, closed: bool) -> torch.Tensor:
    """Return where p >= threshold, or p > threshold if not closed; a boolean tensor of x's shape."""
    if x.device.type != "cpu":
        p = source.probability(x.detach())
        return p >= threshold if closed else p > threshold
    compare = np.greater_equal if closed else np.greater  # several times as fast as torch's
    found = np.empty(x.shape, bool)
    flat, out = x.detach().view(-1), found.reshape(-1)
    for start in range(0, len(flat), _PIECE):
        piece = slice(start, start + _PIECE)
        compare(source.probability(flat[piece]).numpy(), threshold, out=out[piece])
    return torch.from_numpy(found)


def cut(images: int, size: int, ones: torch.Tensor) -> list[Piece]:
    """Return image, piece and the foreground's indices in the piece."""
    starts = [(image, start) for image in range(images) for start in range(0, size, _PIECE)]
    lower = torch.tensor([image * size + start for image, start in starts] + [images * size])
    ends = torch.searchsorted(ones, lower).tolist()
    return [
        (image, slice(start, min(start + _PIECE, size)), ones[ends[n] : ends[n + 1]] - (image * size + start))
        for n, (image, start) in enumerate(starts)
    ]


def _plus(total: torch.Tensor | None, weight: torch.Tensor, slope: torch.Tensor | float) -> torch.Tensor | None:
    if isinstance(slope, float):
        if slope == 0:
            return total
        product = weight if slope == 1 else weight * slope
        return product if total is None else total + product
    return weight * slope if total is None else torch.addcmul(total, weight, slope)
