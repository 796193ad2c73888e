"""The comparison by one metric over one group of cases."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from multifocal.metrics.catalogue import Metric
from multifocal.metrics.comparison.bootstrap import interval, resampled_means
from multifocal.metrics.comparison.outcome import Difference, Score
from multifocal.metrics.comparison.ranks import ranks, share_first
from multifocal.metrics.comparison.wilcoxon import signed_rank


@dataclass(frozen=True, eq=False)
class ByMetric:
    """Scores of the methods, differences of their pairs (not yet corrected), and ranks.

    `places` has the shape (methods,), `resampled_places` (methods, samples).
    """

    scores: list[Score]
    differences: list[Difference]
    places: np.ndarray
    resampled_places: np.ndarray


def compare_metric(
    metric: Metric, values: np.ndarray, undefined: np.ndarray, *, rule: str, samples: int, seed: Sequence[int]
) -> ByMetric:
    """Compare methods by one metric.

    Args:
        metric: which one.
        values: shape (methods, cases), with signs; NaN where nothing stands for an undefined value.
        undefined: the same shape, True where the metric is undefined.
        rule: what was done with those.
        samples: bootstrap samples.
        seed: of the bootstrap; every metric of a group has the same.
    """
    numbers = np.abs(values) if metric.best == "zero" else values
    paired = np.array([first - second for first, second in combinations(numbers, 2)]).reshape(-1, numbers.shape[1])
    resampled = resampled_means(np.concatenate([numbers, paired]), samples=samples, seed=seed)
    of_methods, of_pairs = np.split(resampled, [len(numbers)])
    upward = metric.best == "highest"
    places = ranks(np.array([_mean(row) for row in numbers]), highest_is_best=upward)
    resampled_places = ranks(of_methods, highest_is_best=upward)
    each = zip(values, undefined, of_methods, places, share_first(resampled_places), strict=True)
    return ByMetric(
        scores=[_score(metric, *of_method, rule=rule) for of_method in each],
        differences=[_difference(*of_pair) for of_pair in zip(paired, of_pairs, strict=True)],
        places=places,
        resampled_places=resampled_places,
    )


def or_none(value: float) -> float | None:
    """Return a number as JSON has it: None for NaN."""
    return None if math.isnan(value) else float(value)


def _score(
    metric: Metric,
    row: np.ndarray,
    undefined: np.ndarray,
    resampled: np.ndarray,
    rank: float,
    first: float,
    *,
    rule: str,
) -> Score:
    n = int(np.count_nonzero(~np.isnan(row)))
    low, high = interval(resampled, n=n)
    is_signed = metric.best == "zero"
    return Score(
        mean=or_none(_mean(np.abs(row) if is_signed else row)),
        low=low,
        high=high,
        signed_mean=or_none(_mean(row)) if is_signed else None,
        n=n,
        undefined=int(undefined.sum()),
        rule=rule,
        rank=or_none(rank),
        first=or_none(first),
    )


def _difference(paired: np.ndarray, resampled: np.ndarray) -> Difference:
    kept = paired[~np.isnan(paired)]
    low, high = interval(resampled, n=len(kept))
    test = signed_rank(kept)
    return Difference(
        mean=or_none(_mean(paired)),
        low=low,
        high=high,
        n=len(kept),
        nonzero=test.nonzero,
        p=test.p,
        p_holm=None,
        note=test.note,
    )


def _mean(row: np.ndarray) -> float:
    kept = row[~np.isnan(row)]
    return float(kept.mean()) if len(kept) else math.nan
