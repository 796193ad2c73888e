"""The learning rate of an epoch, from its number and the scores so far.

torch's schedulers carry state, and Lightning stores it before it steps the plateau rule, so a resumed run would differ
from an uninterrupted one. A pure function of what is logged anyway cannot.
"""

import math
from collections.abc import Sequence

from multifocal.systems.network_recipe import Cosine, Exponential, OneCycle, Plateau, Polynomial, Schedule

LEAST = 1e-4  # of `one-cycle`'s beginning, at its end: torch's `final_div_factor`


def factor(schedule: Schedule, *, epoch: int, epochs: int, scores: Sequence[float] = ()) -> float:
    """Return what the learning rate is multiplied by in an epoch.

    Args:
        schedule: the recipe's.
        epoch: counted from 0.
        epochs: the most there will be.
        scores: of the validations so far, higher is better; only `plateau` looks at them.

    Returns:
        The factor, above 0 (0 after the end of `cosine` and `polynomial`).

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
    if isinstance(schedule, Polynomial):
        return (1 - epoch / epochs) ** schedule.power
    if isinstance(schedule, OneCycle):
        return _one_cycle(schedule, epoch=epoch, epochs=epochs)
    if isinstance(schedule, Plateau):
        return schedule.factor ** _plateaus(scores, schedule.patience)
    return 1.0


def _one_cycle(schedule: OneCycle, *, epoch: int, epochs: int) -> float:
    # Where the share is less than an epoch, torch would begin below the peak, or divide by 0: here the peak is first.
    last, peak = epochs - 1, max(0.0, schedule.warmup_share * epochs - 1)
    if epoch < peak:
        return _half_cosine(1.0, schedule.max_factor, epoch / peak)
    return _half_cosine(schedule.max_factor, LEAST, (epoch - peak) / (last - peak) if last > peak else 0.0)


def _half_cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) / 2 * (1 + math.cos(math.pi * done))


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
