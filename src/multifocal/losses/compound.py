"""Losses as modules: weighted sums of terms, with weights that may change over the epochs."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from multifocal.config import check_arguments
from multifocal.losses.algebra import Expression, Term
from multifocal.losses.door import Options
from multifocal.losses.scene import Precomputed, Scene
from multifocal.losses.schedules import Constant, Linear, Schedule


class Compound(nn.Module):
    """A weighted sum of terms: `L = Σ w_i(t) L_i`, where `t` in [0, 1] is how far training has come.

    Args:
        expression: terms and weights, such as `0.9 * Tversky() + 0.1 * LogHausdorff()`.
        options: see `Options`: activation, spacing, connectivity, threshold.

    Example:
        >>> from multifocal.losses import Dice, Focal, Linear
        >>> loss = Compound(Dice() + Linear(2.0, 4.0) * Focal(gamma=3.0))
        >>> loss.progress = 0.5
        >>> logits, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
        >>> {name: round(float(value), 3) for name, value in loss.terms(logits, target).items()}
        {'dice': 0.333, 'focal': 0.087}
        >>> round(float(loss(logits, target)), 3)
        0.593
    """

    def __init__(self, expression: Expression, **options: Any) -> None:
        super().__init__()
        check_arguments(Options, options, where="options of the loss")
        self.options = Options(**options)
        self._terms: dict[str, Term] = {}
        self._schedules: dict[str, Schedule] = {}
        for term, weight in expression.weighted:
            name = term.name
            while name in self._terms:
                name += "'"
            self._terms[name], self._schedules[name] = term, weight
        self.progress = 0.0

    @property
    def weights(self) -> dict[str, Any]:
        """The weight of each term: a number, a pair for a ramp, or a schedule."""
        return {name: _plain(schedule) for name, schedule in self._schedules.items()}

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar.

        Args:
            logits: (B, C, *spatial), 2D or 3D; probabilities with `activation="none"`.
            target: zeros and ones of the same shape, of any type.
            instances: the target's lesions as integer labels, if they were made beforehand.
            distances: `target_distances(target)`, if they were made beforehand.

        Raises:
            ValueError: input that does not fit.
        """
        return self.combine(self.terms(logits, target, instances=instances, distances=distances))

    @torch.compiler.disable
    def terms(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return each unweighted term by name; the arguments are those of `forward`."""
        needs = [term.needs for term in self._terms.values()]
        device = logits.device.type if isinstance(logits, torch.Tensor) else "cpu"
        with torch.autocast(device, enabled=False):
            scene = Scene(
                logits,
                target,
                options=self.options,
                quantities=[quantity for quantities, _ in needs for quantity in quantities],
                predicted=any(predicted for _, predicted in needs),
                precomputed=Precomputed(instances, distances),
            )
            return {name: term.measure(scene) for name, term in self._terms.items()}

    def combine(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of terms, at the present progress."""
        weighted = [self._schedules[name].at(self.progress) * value for name, value in values.items()]
        return torch.stack(weighted).sum()

    def extra_repr(self) -> str:
        """Return the sum as it is written."""
        return " + ".join(f"{weight} {name}" for name, weight in self.weights.items())


def target_distances(target: torch.Tensor, *, spacing: tuple[float, ...] | None = None) -> torch.Tensor:
    """Return the distance of each voxel to the border of the target, to be passed to a loss at every step.

    Args:
        target: zeros and ones, (B, C, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
    """
    from multifocal.distance import border_fields

    masks = target.detach().bool().flatten(0, 1)
    return border_fields(masks, spacing=spacing, power=1.0).view(target.shape)


def _plain(schedule: Schedule) -> Any:
    if isinstance(schedule, Constant):
        return schedule.value
    return (schedule.first, schedule.last) if isinstance(schedule, Linear) else schedule
