"""Missed and false lesions (Rachmadi 2024, eqs. 5 and 6).

These terms count. A count has no gradient, so each takes that of a soft stand-in: the value is the published one, the
gradient pushes missed lesions up and false ones down. A loss built with `relaxed=False` leaves it out.
"""

from dataclasses import dataclass

import numpy as np
import torch

from multifocal.losses.algebra import Needs, Term
from multifocal.losses.partitions import Touching
from multifocal.losses.quantities import P
from multifocal.losses.relaxation import through
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class MissedRate(Term):
    """`#{n touched by no P} / N` (eq. 5); gradient of `1 - soft Dice` over each missed lesion, divided by N.

    Example:
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 1, 1] = target[..., 5, 5] = 1
        >>> found = target.clone()
        >>> found[..., 5, 5] = 0
        >>> MissedRate().build(activation="none")(found, target).item()
        0.5
    """

    name = "missed"

    @property
    def needs(self) -> Needs:
        """What a scene must hold."""
        return Needs(predicted=True)

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the share of lesions that no predicted component touches."""
        found = np.zeros(scene.true.total, bool)
        touched = scene.pairs.target[scene.pairs.prediction > 0]
        found[touched[touched > 0] - 1] = True
        lost = scene.number(~found) / max(1, scene.true.total)
        sizes = scene.number(scene.true.sizes)
        inside = scene.by_lesion(P)
        soft = 1 - 2 * inside / (inside + sizes)
        return _counted(lost.sum(), (lost * soft).sum(), scene)


@dataclass(frozen=True)
class FalseRate(Term):
    """`#{m touching no G} / M` (eq. 6); gradient of the mean p over each false component, divided by M.

    Example:
        >>> predicted = torch.zeros(1, 1, 8, 8)
        >>> predicted[..., 1, 1] = predicted[..., 5, 5] = 1
        >>> target = predicted.clone()
        >>> target[..., 5, 5] = 0
        >>> FalseRate().build(activation="none")(predicted, target).item()
        0.5
    """

    name = "false"

    @property
    def needs(self) -> Needs:
        """What a scene must hold."""
        return Needs(predicted=True)

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the share of predicted components that touch no lesion."""
        right = np.zeros(scene.predicted.total, bool)
        touching = scene.pairs.prediction[scene.pairs.target > 0]
        right[touching[touching > 0] - 1] = True
        wrong = scene.number(~right) / max(1, scene.predicted.total)
        mean = Touching(scene).outside(P) / scene.number(scene.predicted.sizes)
        return _counted(wrong.sum(), (wrong * mean).sum(), scene)


def _counted(count: torch.Tensor, soft: torch.Tensor, scene: Scene) -> torch.Tensor:
    """Return the count with the gradient of its soft stand-in, or with one of zero."""
    return through(count, soft if scene.options.relaxed else 0 * soft)
