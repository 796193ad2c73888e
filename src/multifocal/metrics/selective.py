"""Whether what is unsure is also wrong: risk against coverage, and a bound on what is missed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The risk of what is kept when the most uncertain is left out first.

    Args:
        coverage: `(n,)` the share that is kept: 1/n, 2/n, …, 1.
        risk: `(n,)` the mean risk of what is kept ("selective risk").
        generalized: `(n,)` the sum of its risks over n: the risk that something is kept and wrong.

    Example:
        >>> curve = risk_coverage(np.array([0.1, 0.9]), np.array([0.2, 0.6]))
        >>> curve.risk.tolist(), round(curve.aurc, 3), round(curve.augrc, 3)
        ([0.2, 0.4], 0.3, 0.15)
    """

    coverage: np.ndarray
    risk: np.ndarray
    generalized: np.ndarray

    @property
    def aurc(self) -> float:
        """The area under risk and coverage, `1/n Σ_k risk_k`; the mean risk is that of chance."""
        return float(self.risk.mean())

    @property
    def augrc(self) -> float:
        """The area under generalized risk and coverage, by trapezia from (0, 0); chance has half the mean risk."""
        steps = np.concatenate([[0.0], self.generalized])
        return float((steps[1:] + steps[:-1]).mean() / 2)


def risk_coverage(uncertainty: np.ndarray, risk: np.ndarray) -> RiskCoverage:
    """Return the risk of what is kept for every share of it, the least uncertain first.

    Where several are equally uncertain, their order is chance: each counts with the mean risk of all of them.

    Args:
        uncertainty: `(n,)`, n at least 1; any numbers, of which the order counts.
        risk: `(n,)`, such as 1 - Dice, or 1 for what is false.

    Returns:
        The curve, and its areas.

    Raises:
        ValueError: there is nothing, one is NaN, or there are not as many of both.

    Source:
        Geifman, El-Yaniv 2017, arXiv:1705.08500 (AURC); Traub et al. 2024, arXiv:2407.01032 (AUGRC).

    Example:
        >>> risk_coverage(np.array([0.5, 0.5, 0.9]), np.array([0.0, 1.0, 1.0])).risk.round(3).tolist()
        [0.5, 0.5, 0.667]
    """
    if uncertainty.ndim != 1 or uncertainty.shape != risk.shape or not uncertainty.size:
        raise ValueError(f"uncertainty and risk have shapes {uncertainty.shape} and {risk.shape}; expected one (n,)")
    if np.isnan(uncertainty).any() or np.isnan(risk).any():
        raise ValueError("uncertainty or risk holds NaN; leave such entries out")
    values, place, counts = np.unique(uncertainty, return_inverse=True, return_counts=True)
    means = np.bincount(place, risk, len(values)) / counts
    sums, kept = np.cumsum(np.repeat(means, counts)), np.arange(1, len(risk) + 1)
    return RiskCoverage(kept / len(risk), sums / kept, sums / len(risk))


def risk_control(losses: np.ndarray, at_most: float) -> int | None:
    """Return the last of some nested choices whose expected loss on a new case is bounded ("conformal risk control").

    `max {j : (Σ_i losses_ij + 1) / (n + 1) <= at_most}`. If the cases and the new one are exchangeable, its expected
    loss is at most that, whatever the system is worth.

    Args:
        losses: `(n, choices)`, from 0 to 1, that do not fall along a row, such as the share of the lesion that is
            missed above a threshold, from the lowest threshold to the highest.
        at_most: the bound, from 0 to 1.

    Returns:
        The number of the choice; None where none is safe, as with fewer than `1 / at_most - 1` cases.

    Source:
        Angelopoulos, Bates, Fisch, Lei, Schuster 2022, Conformal risk control, arXiv:2208.02814, section 2.

    Example:
        >>> losses = np.tile([0.0, 0.1, 0.5], (19, 1))
        >>> risk_control(losses, 0.2), risk_control(losses[:3], 0.2)
        (1, None)
    """
    bound = (losses.sum(axis=0) + 1) / (len(losses) + 1)
    safe = np.flatnonzero(bound <= at_most + 1e-12)
    return int(safe[-1]) if safe.size else None
