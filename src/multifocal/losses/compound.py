"""Losses as modules: weighted sums of terms, with weights that may change over the epochs."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from multifocal.errors import UserError, unknown_name
from multifocal.losses.algebra import Expression, Term
from multifocal.losses.door import Door
from multifocal.losses.options import Options
from multifocal.losses.scene import Scene
from multifocal.losses.schedules import Constant, Linear, Schedule, checked_progress


class Compound(nn.Module):
    """A weighted sum of terms: `L = Σ w_i(t) L_i`, where `t` in [0, 1] is how far training has come.

    Args:
        expression: terms and weights, such as `0.9 * Tversky() + 0.1 * LogHausdorff()`.
        options: see `Options`: activation, spacing, connectivity, threshold, include_background, relaxed.

    Raises:
        UserError: no expression; an option that there is not, or that cannot be.

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
        if not isinstance(expression, Expression):
            raise UserError(
                f"loss is {expression!r}; expected terms and weights, such as 0.9 * Tversky() + 0.1 * Focal()"
            )
        known = [field.name for field in fields(Options)]
        for name in options:
            if name not in known:
                raise unknown_name("option", name, known)
        self.options = Options(**options)
        self._terms: dict[str, Term] = {}
        self._schedules: dict[str, Schedule] = {}
        for term, weight in expression.weighted:
            name = term.name
            while name in self._terms:
                name += "'"
            self._terms[name], self._schedules[name] = term, weight
        self._progress = 0.0

    @property
    def progress(self) -> float:
        """How far training has come, from 0 to 1: what weights that change go by."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress = checked_progress(value)

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
        cells: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar.

        Args:
            logits: (B, C, *spatial), 2D or 3D; probabilities with `activation="none"`.
            target: zeros and ones of the same shape, of any type; with softmax also class numbers, (B, 1, *spatial).
            instances: the target's lesions as integer labels, (B, C, *spatial), if they were made beforehand. Losses
                that look at no lesions check their type and shape, and do not use them.
            distances: `target_distances(target)`, if they were made beforehand; likewise. Those of another target, or
                of a spacing with the same smallest side, are not noticed.
            cells: `target_cells(target)`, if they were made beforehand; likewise. Those of another spacing are not
                noticed.

        Raises:
            ValueError: input that does not fit.
        """
        return self.combine(self.terms(logits, target, instances=instances, distances=distances, cells=cells))

    @torch.compiler.disable
    def terms(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return each unweighted term by name; the arguments are those of `forward`."""
        device = logits.device.type if isinstance(logits, torch.Tensor) else "cpu"
        values: dict[str, torch.Tensor] = {}
        with torch.autocast(device, enabled=False):
            door = Door(logits, target, self.options, instances=instances, distances=distances, cells=cells)
            for classes in (False, True):
                terms = {n: t for n, t in self._terms.items() if (door.softmax and t.needs.classes) == classes}
                if terms:
                    scene = self._scene(door, terms, classes=classes)
                    values |= {name: term.measure(scene) for name, term in terms.items()}
        return {name: values[name] for name in self._terms}

    def _scene(self, door: Door, terms: Mapping[str, Term], *, classes: bool) -> Scene:
        needs = [term.needs for term in terms.values()]
        return Scene(
            door.view(classes=classes),
            options=self.options,
            quantities=[quantity for need in needs for quantity in need.quantities],
            predicted=any(need.predicted for need in needs),
        )

    def combine(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of terms, at the present progress."""
        weighted = [self._schedules[name].at(self.progress) * value for name, value in values.items()]
        return torch.stack(weighted).sum()

    def extra_repr(self) -> str:
        """Return the sum as it is written."""
        return " + ".join(f"{weight} {name}" for name, weight in self.weights.items())


def _plain(schedule: Schedule) -> Any:
    if isinstance(schedule, Constant):
        return schedule.value
    return (schedule.first, schedule.last) if isinstance(schedule, Linear) else schedule
