"""Distances to the target's border, made beforehand."""

import numpy as np
import torch

from multifocal.distance import border_fields
from multifocal.losses.checks import check_target_alone, foreground
from multifocal.losses.options import Options

_TOLERANCE = 2e-3  # half precision has three digits


def target_distances(target: torch.Tensor, *, spacing: tuple[float, ...] | None = None) -> torch.Tensor:
    """Return the distance of each voxel to the border of the target, to be passed to a loss at every step.

    Args:
        target: zeros and ones, (B, C, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.

    Returns:
        float32 of the target's shape; 0 in an image without a border.

    Raises:
        ValueError: a target or a spacing that cannot be.

    Example:
        >>> target_distances(torch.tensor([[[[1, 1, 0, 0, 0]]]])).tolist()
        [[[[2.0, 1.0, 1.0, 2.0, 3.0]]]]
    """
    check_target_alone(target)
    sides = Options(spacing=spacing).spacing
    if sides is not None and len(sides) != target.ndim - 2:
        raise ValueError(f"spacing={sides}; expected {target.ndim - 2} numbers, one for each axis")
    masks = np.zeros(target.numel(), bool)
    masks[foreground(target)] = True
    rows = torch.from_numpy(masks).view(-1, *target.shape[2:])
    return border_fields(rows, spacing=sides, power=1.0).view(target.shape)


def check_distances(distances: torch.Tensor, bordered: np.ndarray, spacing: tuple[float, ...] | None) -> None:
    """Raise ValueError for distances that cannot be those of the images.

    Beside a border the distance is a side of the voxels, and nowhere is it less.

    Args:
        distances: (images, voxels).
        bordered: which images' targets have a border.
        spacing: mm per voxel along each axis.

    Example:
        >>> check_distances(torch.tensor([[2.0, 2.0]]), np.array([True]), (1.0, 1.0))
        Traceback (most recent call last):
        ValueError: distances are 2 beside a border; expected those of target_distances(target, spacing=(1.0, 1.0))
    """
    held = distances.detach()
    low, high = (end.cpu().double().numpy() for end in (held.amin(1), held.amax(1)))  # ten times as fast as aminmax
    if not np.isfinite(low + high).all():
        raise ValueError("distances holds NaN or infinity; expected target_distances(target)")
    if (low[bordered] <= 0).any() or low[~bordered].any() or high[~bordered].any():
        raise ValueError(
            "distances is not above 0 exactly where images have a border; expected target_distances(target)"
        )
    sides = np.array(spacing or (1.0,))
    wrong = [least for least in low[bordered] if not np.isclose(least, sides, rtol=_TOLERANCE, atol=0).any()]
    if wrong:
        expected = f"those of target_distances(target, spacing={spacing})"
        raise ValueError(f"distances are {wrong[0]:.6g} beside a border; expected {expected}")
