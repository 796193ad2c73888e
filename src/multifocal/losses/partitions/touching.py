"""Lesions with the predicted components that touch them, and the other way round (Rachmadi 2024, eqs. 2 and 3)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Sums
from multifocal.losses.partitions.base import Partition, gathered, pooled
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class Instances(Checked, Partition):
    """One region a lesion: the predicted components that touch it less the other lesions (Rachmadi 2024, eq. 2).

    Where a cost has no value at p = 0 (cross-entropy, focal), the lesion's voxels outside these components cost what
    their own probability does. A lesion that nothing touches has no prediction, and so no gradient, as published;
    relaxed, it takes that of its own voxels' probabilities.

    Args:
        pool: the mean is over all lesions of the "batch", or over each "image" first.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("instances", pool="image").name
        'dice over instances'
    """

    label = "instances"
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each lesion's region."""
        touch = Touching(scene)

        def own() -> torch.Tensor:
            """Return zero, with the gradient of the sum over each lesion that nothing touches."""
            inside = scene.by_lesion(P)
            if not relaxed:
                return torch.zeros_like(inside)
            return touch.untouched(inside) * (inside - inside.detach())

        found = gathered(
            quantities,
            overlap=lambda: touch.by_lesion(touch.shared(P)) + own(),
            predicted=lambda: touch.by_lesion(touch.shared(P) + touch.outside(P)[touch.prediction]) + own(),
            true=scene.number(scene.true.sizes),
            other=lambda q: scene.by_lesion(q) + touch.by_lesion(touch.outside(q)[touch.prediction]),
            size=float(scene.size),
            extent=None,  # each has a lesion
        )
        return found, scene.number(pooled(scene.true.counts, self.pool))


@dataclass(frozen=True)
class Predictions(Checked, Partition):
    """One region a predicted component: itself and the lesions it touches (Rachmadi 2024, eq. 3).

    A false component costs 1 by Dice, and its gradient is all but zero, as published; relaxed, it takes that of its
    mean p.

    Args:
        pool: as in `Instances`.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("predictions").name
        'dice over predictions'
    """

    label = "predictions"
    looks_at_prediction = True
    takes_background = False
    pool: Literal["batch", "image"] = "batch"

    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each predicted component's region."""
        touch = Touching(scene)
        sizes = scene.number(scene.true.sizes)
        found = gathered(
            quantities,
            overlap=lambda: touch.by_prediction(touch.shared(P)),
            predicted=lambda: touch.by_prediction(touch.shared(P)) + touch.outside(P),
            true=touch.by_prediction(sizes[touch.lesion]),
            other=lambda q: touch.outside(q) + touch.by_prediction(scene.by_lesion(q)[touch.lesion]),
            size=float(scene.size),
            extent=scene.number(scene.predicted.sizes) if relaxed else None,
        )
        return found, scene.number(pooled(scene.predicted.counts, self.pool))


class Touching:
    """The pairs of a scene that are no background: each a predicted component and a lesion that share voxels."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        m, n = scene.pairs.prediction, scene.pairs.target
        both, alone = np.flatnonzero((m > 0) & (n > 0)), np.flatnonzero(n == 0)
        self._both, self._alone = scene.index(both), scene.index(alone)
        self.prediction, self.lesion = scene.index(m[both] - 1), scene.index(n[both] - 1)
        self._owner = scene.index(m[alone] - 1)

    def shared(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each pair's shared voxels."""
        return self.scene.by_pair(quantity)[self._both]

    def outside(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each predicted component's voxels outside of all lesions, (M,)."""
        alone = self.scene.by_pair(quantity)[self._alone]
        return alone.new_zeros(self.scene.predicted.total).index_add(0, self._owner, alone)

    def by_lesion(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by lesion, (N,)."""
        return values.new_zeros(self.scene.true.total).index_add(0, self.lesion, values)

    def by_prediction(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a number of each pair by predicted component, (M,)."""
        return values.new_zeros(self.scene.predicted.total).index_add(0, self.prediction, values)

    def untouched(self, like: torch.Tensor) -> torch.Tensor:
        """Return 1 for each lesion that nothing touches, and 0 for the others, (N,)."""
        return torch.ones_like(like).index_fill(0, self.lesion, 0)
