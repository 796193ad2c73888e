"""What is measured at a voxel: p, cross-entropy, focal, Hausdorff. Additive, so any region's value is a sum.

Each cost has two branches. Where the target is 0 it is a function of the probability p and of `c = -log(1 - p)`,
and zero at p = 0; there it is evaluated for millions of voxels at once. Where the target is 1 it is a function of p,
of `q = 1 - p` (not computed from p, where p is near one) and of `c = -log p`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from multifocal.losses.probabilities import Foreground

Array = torch.Tensor


@dataclass(frozen=True)
class ProbabilityCost:
    """The probability itself."""

    costly = False  # whether it looks at c
    costly_slope = False  # whether its derivatives do

    def background(self, p: Array, c: Array, field: Any) -> Array:
        """Return the cost where the target is 0."""
        return p

    def slopes(self, p: Array, c: Array, field: Any) -> tuple[Array | float, Array | float]:
        """Return its derivatives by p and by c where the target is 0."""
        return 1.0, 0.0

    def foreground(self, at: Foreground, field: Any) -> Array:
        """Return the cost where the target is 1; differentiable as written."""
        return at.p


@dataclass(frozen=True)
class CrossEntropyCost:
    """`-y log p - (1 - y) log(1 - p)`."""

    costly = True
    costly_slope = False

    def background(self, p: Array, c: Array, field: Any) -> Array:
        """Return the cost where the target is 0."""
        return c

    def slopes(self, p: Array, c: Array, field: Any) -> tuple[Array | float, Array | float]:
        """Return its derivatives by p and by c where the target is 0."""
        return 0.0, 1.0

    def foreground(self, at: Foreground, field: Any) -> Array:
        """Return the cost where the target is 1."""
        return at.c


@dataclass(frozen=True)
class FocalCost:
    """`-|p - y|^γ log(1 - |p - y|)`, times `alpha` where y = 1 and `1 - alpha` where y = 0 if alpha is given.

    Of softmax's classes together only the target's own costs: `1 - alpha` then belongs to the voxels of the background.
    """

    costly = True
    costly_slope = True
    gamma: float
    alpha: float | None = None

    def background(self, p: Array, c: Array, field: Any) -> Array:
        """Return the cost where the target is 0."""
        return self._outside(_power(p, self.gamma) * c)

    def slopes(self, p: Array, c: Array, field: Any) -> tuple[Array | float, Array | float]:
        """Return its derivatives by p and by c where the target is 0."""
        by_p = self.gamma * _power(p, self.gamma - 1) * c if self.gamma else 0.0
        return self._outside(by_p), self._outside(_power(p, self.gamma))

    def foreground(self, at: Foreground, field: Any) -> Array:
        """Return the cost where the target is 1."""
        cost = _power(at.q, self.gamma) * at.c
        if self.alpha is None:
            return cost
        if at.is_background is None:
            return cost * self.alpha
        return cost * torch.where(at.is_background, 1 - self.alpha, self.alpha)

    def _outside(self, value: Any) -> Any:
        return value if self.alpha is None else value * (1 - self.alpha)


@dataclass(frozen=True)
class HausdorffCost:
    """`(p - y)² (d_p^α + d_y^α)`; the distances come as the field. `empty`: see `Hausdorff`."""

    costly = False
    costly_slope = False
    alpha: float
    empty: Literal["diagonal", "zero"]

    def background(self, p: Array, c: Array, field: Any) -> Array:
        """Return the cost where the target is 0."""
        return p * p * field

    def slopes(self, p: Array, c: Array, field: Any) -> tuple[Array | float, Array | float]:
        """Return its derivatives by p and by c where the target is 0."""
        return 2 * p * field, 0.0

    def foreground(self, at: Foreground, field: Any) -> Array:
        """Return the cost where the target is 1."""
        return at.q * at.q * field


VoxelCost = ProbabilityCost | CrossEntropyCost | FocalCost | HausdorffCost
P, CE = ProbabilityCost(), CrossEntropyCost()


def _power(base: Array, exponent: float) -> Array | float:
    if exponent == 0:
        return 1.0
    if exponent == 1:
        return base
    if exponent == 2:
        return base * base
    if exponent == 3:
        return base * base * base
    # The slope of a power below one is infinite at zero, where the cost's cost is zero too.
    return base.clamp_min(torch.finfo(base.dtype).tiny).pow(exponent)
