"""The learning rate of an epoch, from its number and the scores so far.

torch's schedulers carry state, and Lightning stores it before it steps the plateau rule, so a resumed run would differ
from an uninterrupted one. A pure function of what is logged anyway cannot.
"""

import math
from collections.abc import Sequence

from multifocal.systems.network_recipe import Constant, Cosine, Exponential, Plateau

Schedule = Constant | Exponential | Cosine | Plateau


def factor(schedule: Schedule, *, epoch: int, epochs: int, scores: Sequence[float] = ()) -> float:
    """Return what the learning rate is multiplied by in an epoch.

    Args:
        schedule: the recipe's.
        epoch: counted from 0.
        epochs: the most there will be.
        scores: of the validations so far, higher is better; only `plateau` looks at them.

    Returns:
        The factor, above 0 (0 after the end of `cosine`).

    Example:
        >>> factor(Exponential(name="exponential", gamma=0.5), epoch=3, epochs=10)
        0.125
        >>> factor(Plateau(name="plateau", factor=0.1, patience=1), epoch=4, epochs=9, scores=[0.5, 0.4, 0.5, 0.6])
        0.1
    """
    if isinstance(schedule, Exponential):
        return schedule.gamma**epoch
    if isinstance(schedule, Cosine):
        if epoch < schedule.warmup:
            return (epoch + 1) / (schedule.warmup + 1)
        done = (epoch - schedule.warmup) / max(1, epochs - schedule.warmup)
        return 0.5 * (1 + math.cos(math.pi * done))
    if isinstance(schedule, Plateau):
        return schedule.factor ** _plateaus(scores, schedule.patience)
    return 1.0


def _plateaus(scores: Sequence[float], patience: int) -> int:
    """Return how often more than `patience` validations in a row were no better than the best before them."""
    best, waited, reductions = -math.inf, 0, 0
    for score in scores:
        if score > best:
            best, waited = score, 0
        else:
            waited += 1
        if waited > patience:
            waited, reductions = 0, reductions + 1
    return reductions
