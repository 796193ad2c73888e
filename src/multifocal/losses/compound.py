"""Losses that are weighted sums of terms, with weights that may change over the epochs."""

from collections.abc import Mapping

import torch
from torch import nn

Weight = float | tuple[float, float]


class WeightedSum(nn.Module):
    """Weighted sum of terms: `L = Σ w_i(t) L_i`, where `t` in [0, 1] is how far training has come.

    Args:
        terms: a loss by name.
        weights: by the same names, a number or `(first, last)` for a linear ramp over training.

    Example:
        >>> loss = WeightedSum({"l1": nn.L1Loss(), "l2": nn.MSELoss()}, {"l1": 1.0, "l2": (2.0, 4.0)})
        >>> loss.progress = 0.5
        >>> loss(torch.zeros(1), torch.full((1,), 2.0))
        tensor(14.)
    """

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, Weight]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(terms)
        self.weights = dict(weights)
        self.progress = 0.0

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Map `(B, C, *spatial)` logits and 0/1 target to a scalar."""
        return self.combine(self.terms(logits, target))

    def terms(self, logits: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each unweighted term by name."""
        return {name: term(logits, target) for name, term in self.parts.items()}

    def combine(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of terms, at the present progress."""
        return torch.stack([self._weight(name) * value for name, value in values.items()]).sum()

    def _weight(self, name: str) -> float:
        weight = self.weights[name]
        return weight if isinstance(weight, float | int) else weight[0] + self.progress * (weight[1] - weight[0])
