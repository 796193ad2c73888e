"""Statistics of paired scores: bootstrap intervals, Wilcoxon's test, Holm's correction, ranks of methods."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_BLOCK = 1000  # resamples held in memory at a time; the draws do not depend on it
EXACT_UP_TO = 50
_FEWEST = 6
FEW = f"fewer than {_FEWEST} differences: no p below 0.05 is possible"
NONE_DIFFER = "no case differs"
NO_CASES = "no case has a value in both"
MEAN_RANKS: dict[str, tuple[str, ...] | None] = {
    "RA": None,
    "RG": ("dice", "volume_difference"),
    "RI": ("fdr", "fnr", "ppv", "sen", "f1"),
    "challenge": ("dice", "masd", "nsd"),
}
"""Mean ranks by name: over all compared metrics (None), the global and the lesion-level ones (Rachmadi et al. 2024,
section 3.5), and those of the BONBID-HIE challenge."""


def resampled_means(values: np.ndarray, *, samples: int, seed: Sequence[int]) -> np.ndarray:
    """Return the mean of each row over each of `samples` bootstrap samples of the columns (the cases).

    Every row sees the same draws, so that means of one sample can be compared and subtracted.

    Args:
        values: shape (rows, cases); NaN is left out of a mean.
        samples: how many bootstrap samples.
        seed: entropy of the draws; the same seed and number of cases give the same draws.

    Returns:
        Shape (rows, samples); NaN where a sample holds no value of the row.

    Example:
        >>> resampled_means(np.array([[2.0, 2.0], [1.0, np.nan]]), samples=2, seed=[0]).shape
        (2, 2)
    """
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    means = np.empty((len(values), samples))
    done = 0
    for counts in _draws(values.shape[1], samples=samples, seed=seed):
        block = slice(done, done + len(counts))
        for row, (numbers, there) in enumerate(zip(filled, defined, strict=True)):
            # Row by row: one product over all rows would add up equal rows in different orders.
            weight = float(len(numbers)) if there.all() else counts @ there.astype(float)
            with np.errstate(invalid="ignore"):
                means[row, block] = (counts @ numbers) / weight
        done += len(counts)
    return means


def interval(means: np.ndarray, *, n: int) -> tuple[float | None, float | None]:
    """Return the percentile interval of resampled means of `n` values; None for fewer than two.

    Samples that hold none of the values are left out; where all are such, there is no interval either.

    Args:
        means: shape (samples,); NaN where a sample holds none of the values.
        n: how many values there are.

    Returns:
        Both ends of the 95 % interval.
    """
    kept = means[~np.isnan(means)]
    if n < 2 or not len(kept):
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class SignedRank:
    """What Wilcoxon's test finds.

    Attributes:
        p: two-sided; None without cases.
        nonzero: how many differences are not 0.
        note: what limits the test, or empty.
    """

    p: float | None
    nonzero: int
    note: str


def signed_rank(differences: np.ndarray) -> SignedRank:
    """Test whether paired differences lie symmetrically about 0 (two-sided), and say what limits the test.

    Differences of 0 are dropped (Wilcoxon's rule). Up to 50 differences, p is exact: the share of all signs of the
    ranks at hand, tied ones too, that are at least as far from balance. Beyond, SciPy's normal approximation, which
    allows for ties.

    Args:
        differences: one a case, shape (cases,), without NaN.

    Returns:
        The p-value, and what limits the test.

    Example:
        >>> signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]))
        SignedRank(p=0.03125, nonzero=6, note='')
    """
    if not len(differences):
        return SignedRank(None, 0, NO_CASES)
    rounded = np.round(differences, 12)  # or differences that are equal would not tie
    kept = rounded[rounded != 0]
    if not len(kept):
        return SignedRank(1.0, 0, NONE_DIFFER)
    if len(kept) > EXACT_UP_TO:
        return SignedRank(float(stats.wilcoxon(kept, method="asymptotic").pvalue), len(kept), "")
    return SignedRank(_exact(kept), len(kept), FEW if len(kept) < _FEWEST else "")


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number (Holm 1979): `max over j ≤ i of min(1, (m - j + 1) p_(j))`, p sorted.

    What is None stays so and does not count.

    Args:
        p_values: of all tests of the family.

    Returns:
        The corrected ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    places = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for smaller, (p, place) in enumerate(places):
        highest = max(highest, min(1.0, (len(places) - smaller) * p))
        corrected[place] = highest
    return corrected


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
    keys = np.round(-means if highest_is_best else means, 12)  # or means that are equal would not tie
    places = stats.rankdata(np.where(np.isnan(keys), np.inf, keys), axis=0)
    return np.where(np.isnan(means).all(axis=0), np.nan, places)


def mean_ranks(by_metric: Mapping[str, np.ndarray], over: Sequence[str] | None) -> np.ndarray:
    """Return the mean of the ranks over some metrics; NaN where one of them is not compared or ranks nobody.

    Args:
        by_metric: ranks by metric, each of shape (methods, ...).
        over: the metrics; None for all those that rank somebody.

    Returns:
        The mean ranks, of the same shape.

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


def _draws(cases: int, *, samples: int, seed: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield how often each case is drawn in each sample, (samples, cases) at a time."""
    random = np.random.default_rng(list(seed))
    for start in range(0, samples, _BLOCK):
        size = min(_BLOCK, samples - start)
        drawn = random.integers(0, cases, (size, cases)) + cases * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * cases).reshape(size, cases).astype(float)


def _exact(differences: np.ndarray) -> float:
    """Count the signs of the ranks by the sum of the positive ones; doubled, tied ranks are whole numbers."""
    places = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    total = int(places.sum())
    ways = np.zeros(total + 1)  # up to 2^50: exact in floats
    ways[0] = 1
    for place in places:
        ways[place:] += ways[:-place].copy()
    positive = int(places[differences > 0].sum())
    tail = ways[: min(positive, total - positive) + 1].sum()
    return float(min(1.0, 2 * tail / 2.0 ** len(places)))
