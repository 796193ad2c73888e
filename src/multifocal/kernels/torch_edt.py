"""The transforms of `edt` in plain torch operations, for masks on an accelerator: `min_j f(j) + w (i - j)²`."""

from collections.abc import Sequence

import torch

from multifocal.kernels.edt import whole_squares

# Candidates at a time: half a gigabyte in float64.
_AT_ONCE = 1 << 26


def border_squares(masks: torch.Tensor, *, spacing: Sequence[float] | None) -> torch.Tensor:
    """Return float32 squared distances to the other side of each mask's border, infinite without one.

    Args:
        masks: boolean, (images, *spatial), on any device.
        spacing: mm per voxel along each axis; None counts in voxels.

    Returns:
        float32 tensor of the masks' shape, on their device.

    Example:
        >>> border_squares(torch.tensor([[[True, True, False]]]), spacing=None).tolist()
        [[[4.0, 1.0, 1.0]]]
    """
    squares = [float(side) ** 2 for side in spacing or (1.0,) * (masks.ndim - 1)]
    sides = [torch.where(side, 0.0, torch.inf).double() for side in (masks, ~masks)]
    to_mask, outwards = (_spread(side, None, squares)[0] for side in sides)
    return torch.where(masks, outwards, to_mask).float()


def spread_ranks(ranks: torch.Tensor, *, spacing: Sequence[float] | None) -> torch.Tensor:
    """Give every voxel of rank -1 the rank that is nearest to it, the lowest of those equally near.

    Args:
        ranks: int32, (images, *spatial), on any device; each image with a rank of 0 or more.
        spacing: mm per voxel along each axis; None counts in voxels.

    Returns:
        int32 tensor of the same shape, on the same device.

    Example:
        >>> spread_ranks(torch.tensor([[[0, -1, -1, -1, 1]]], dtype=torch.int32), spacing=None).tolist()
        [[[0, 0, 0, 1, 1]]]
    """
    squares = torch.where(ranks >= 0, 0.0, torch.inf).double()
    return _spread(squares, ranks, whole_squares(ranks.shape[1:], spacing))[1]


def _spread(
    squares: torch.Tensor, ranks: torch.Tensor | None, units: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least squared distances, and the lowest rank among the places they lead to."""
    ranks = torch.zeros_like(squares, dtype=torch.int32) if ranks is None else ranks
    last = torch.iinfo(ranks.dtype).max
    for axis in reversed(range(1, squares.ndim)):
        shape = squares.movedim(axis, -1).shape
        n = shape[-1]
        place = torch.arange(n, device=squares.device, dtype=squares.dtype)
        steps = units[axis - 1] * (place[:, None] - place).square()
        found = []
        lines = (part.movedim(axis, -1).reshape(-1, n).split(max(1, _AT_ONCE // n**2)) for part in (squares, ranks))
        for f, names in zip(*lines, strict=True):
            sums = f[:, None] + steps
            least = sums.amin(-1)
            tied = (sums == least[..., None]) & (names >= 0)[:, None]
            found.append((least, torch.where(tied, names[:, None], last).amin(-1)))
        squares, ranks = (torch.cat(part).view(shape).movedim(-1, axis) for part in zip(*found, strict=True))
        ranks = torch.where(ranks == last, -1, ranks)
    return squares, ranks
