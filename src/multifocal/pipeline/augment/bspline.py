"""Cubic B-spline fields on a coarse lattice of control points, evaluated at every voxel."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

_MARGIN = 0.125
"""ITK's spline domain reaches this many voxels beyond the outer edges of the image."""


def positions(size: int, points: int) -> Tensor:
    """Return where the control points lie along an axis of `size` voxels, in voxels (float64, `points` values).

    One lies a step outside the domain at either end; the step is (size + 0.25) / (points - 3).
    """
    step = (size + 2 * _MARGIN) / (points - 3)
    return torch.arange(-1, points - 1, dtype=torch.float64) * step - 0.5 - _MARGIN


@lru_cache(maxsize=64)
def basis(size: int, points: int, device: torch.device) -> Tensor:
    """Return the (size, points) matrix whose product with coefficients is the spline at voxels 0 ... size - 1.

    Example:
        >>> matrix = basis(10, 7, torch.device("cpu"))
        >>> bool(torch.allclose(matrix.sum(dim=1), torch.ones(10)))
        True
    """
    where = positions(size, points)
    distance = (torch.arange(size, dtype=torch.float64)[:, None] - where).abs() / (where[1] - where[0])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far).to(torch.float32).to(device)


def evaluate(coefficients: Tensor, size: Sequence[int]) -> Tensor:
    """Return the fields (K, *size) of the coefficients (K, *points): one matrix product an axis.

    The sum over control points i of c_i prod_a B3(x_a - i_a) is separable (Rueckert et al., IEEE TMI 18:712, 1999).
    """
    field = coefficients
    for axis in reversed(range(len(size))):
        matrix = basis(size[axis], coefficients.shape[axis + 1], coefficients.device)
        rows = coefficients.shape[: axis + 1].numel()
        field = matrix @ field.reshape(rows, coefficients.shape[axis + 1], -1)
    return field.reshape(-1, *size)
