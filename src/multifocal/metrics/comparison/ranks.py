"""Numeric ranks of methods, their means over metrics, and who is first how often."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

MEAN_RANKS: dict[str, tuple[str, ...] | None] = {
    "RA": None,
    "RG": ("dice", "volume_difference"),
    "RI": ("fdr", "fnr", "ppv", "sen", "f1"),
    "challenge": ("dice", "masd", "nsd"),
}
"""Mean ranks by name: over all compared metrics (None), the global and the lesion-level ones (Rachmadi et al. 2024,
section 3.5), and those of the BONBID-HIE challenge."""


def ranks(means: np.ndarray, *, highest_is_best: bool) -> np.ndarray:
    """Rank methods by their means: 1 is best, ties share the mean of their places, no mean (NaN) is last.

    Args:
        means: shape (methods, ...).
        highest_is_best: whether a high mean is better than a low one.

    Returns:
        The same shape; NaN where no method has a mean.

    Example:
        >>> ranks(np.array([0.5, 0.9, 0.5, np.nan]), highest_is_best=True).tolist()
        [2.5, 1.0, 2.5, 4.0]
    """
    keys = -means if highest_is_best else means
    places = rankdata(np.where(np.isnan(keys), np.inf, keys), axis=0)
    return np.where(np.isnan(means).all(axis=0), np.nan, places)


def mean_ranks(by_metric: Mapping[str, np.ndarray], over: Sequence[str] | None) -> np.ndarray:
    """Return the mean of the ranks over some metrics; NaN where one of them is not compared or ranks nobody.

    Args:
        by_metric: ranks by metric, each of shape (methods, ...).
        over: the metrics; None for all those that rank somebody.

    Example:
        >>> mean_ranks({"dice": np.array([1.0, 2.0]), "nsd": np.array([2.0, 1.0])}, None).tolist()
        [1.5, 1.5]
    """
    if over:
        nobody = np.full_like(next(iter(by_metric.values())), np.nan)
        return np.mean([by_metric.get(name, nobody) for name in over], axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no metric ranks anyone: NaN is the answer
        return np.nanmean(list(by_metric.values()), axis=0)


def share_first(places: np.ndarray) -> np.ndarray:
    """Return the share of samples in which each method has the lowest rank; methods that tie share a sample evenly.

    Args:
        places: ranks of shape (methods, samples); samples without ranks are left out.

    Returns:
        Shape (methods,), which sums to 1; NaN when no sample has ranks.

    Example:
        >>> share_first(np.array([[1.0, 1.5], [2.0, 1.5]])).tolist()
        [0.75, 0.25]
    """
    places = places[:, ~np.isnan(places).any(axis=0)]
    if not places.shape[1]:
        return np.full(len(places), np.nan)
    # Means of ranks are quotients of whole numbers: equal ones may differ in the last digit.
    first = np.isclose(places, places.min(axis=0), rtol=0, atol=1e-9)
    return (first / first.sum(axis=0)).mean(axis=1)
