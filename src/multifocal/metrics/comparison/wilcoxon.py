"""Wilcoxon's signed-rank test, exact where cases are few, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

EXACT_UP_TO = 50
_FEWEST = 6
FEW = f"fewer than {_FEWEST} differences: no p below 0.05 is possible"
NONE_DIFFER = "no case differs"
NO_CASES = "no case has a value in both"


@dataclass(frozen=True)
class SignedRank:
    """A p-value (None without cases), how many differences are not 0, and what limits the test."""

    p: float | None
    nonzero: int
    note: str


def signed_rank(differences: np.ndarray) -> SignedRank:
    """Test whether paired differences lie symmetrically about 0 (two-sided), and say what limits the test.

    Differences of 0 are dropped (Wilcoxon's rule). Up to 50 differences, p is exact: the share of all signs of the
    ranks at hand, tied ones too, that are at least as far from balance. Beyond, SciPy's normal approximation, which
    allows for ties.

    Args:
        differences: one a case, without NaN.

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
