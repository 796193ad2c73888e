"""Cubic B-spline fields on a coarse lattice of control points, evaluated at every voxel."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Field:
    """K spline fields of `size`, evaluated along all axes but the first: `partial` is (K, points, prod(size[1:]))."""

    partial: Tensor
    size: tuple[int, ...]

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the fields at rows start ... stop - 1 of the first axis, (K, stop - start, *size[1:])."""
        matrix = basis(self.size[0], self.partial.shape[1], self.partial.device)
        return (matrix[start:stop] @ self.partial).reshape(len(self.partial), stop - start, *self.size[1:])


def field(coefficients: Tensor, size: Sequence[int]) -> Field:
    """Return the fields of the coefficients (K, *points) on a grid of `size` voxels.

    The sum over control points i of c_i prod_a B3(x_a - i_a) is separable (Rueckert et al., IEEE TMI 18:712, 1999):
    one small matrix product an axis.
    """
    partial = coefficients
    for axis in range(len(size) - 1, 0, -1):
        matrix = basis(size[axis], coefficients.shape[axis + 1], coefficients.device)
        partial = matrix @ partial.reshape(coefficients.shape[: axis + 1].numel(), matrix.shape[1], -1)
    return Field(partial=partial.reshape(*coefficients.shape[:2], -1), size=tuple(size))
