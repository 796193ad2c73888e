"""Compare methods over the same cases: ranks, intervals, tests, and how stable the ranking is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.comparison.result import Comparison, Difference, Group, MeanRank, Method, MethodPair, Score
from multifocal.comparison.score_array import ScoreArray, score_array
from multifocal.comparison.statistics import (
    CONFIDENCE,
    EXACT_UP_TO,
    MEAN_RANKS,
    holm,
    interval,
    mean_ranks,
    ranks,
    resampled_means,
    share_first,
    signed_rank,
)
from multifocal.evaluation import Results
from multifocal.evaluation.wording import VOLUMES
from multifocal.metrics import Metric
from multifocal.metrics.metric import Undefined, check_undefined


def compare(
    methods: Mapping[str, Results],
    *,
    metrics: Sequence[str] | None = None,
    label: str | None = None,
    undefined: Undefined = "skip",
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare the evaluations of several methods on the same cases, over all cases and by stratum.

    Each mean is over the cases with a value, those of one method; each difference is over the cases with a value in
    both. Intervals are 95 % percentile intervals over bootstrap samples of the cases, the same samples for all methods
    and metrics. p is Wilcoxon's signed-rank test, corrected after Holm over every pair × metric of a group (all cases,
    or one stratum). Nothing depends on the order of methods or rows.

    Args:
        methods: results by name, at least one.
        metrics: names from `METRICS` that have a best direction; None for those of `DEFAULT_METRICS` that are there.
        label: the class to compare, where several were evaluated.
        undefined: what stands for an undefined distance, for all methods alike; see `multifocal.evaluation.summarize`.
        samples: bootstrap samples of each group.
        seed: of the bootstrap.

    Returns:
        Ranks, intervals and tests, over all cases and by stratum.

    Raises:
        UserError: methods that differ in cases, true lesions or settings; a metric that is unknown or missing.
        ValueError: no method, or an option is not valid.

    Source:
        Ranks r, RA, RG, RI: Rachmadi, Byra, Skibbe, "A new family of instance-level loss functions" (2024), section
        3.5; mean rank over Dice, MASD, NSD: BONBID-HIE challenge 2023; ranking stability: Wiesenfarth et al. 2021.

    Example:
        >>> from multifocal.evaluation import Results
        >>> rows = [{"case": str(i), "stratum": "<1 %", "dice": 0.5 + i / 100} for i in range(8)]
        >>> better = [{**row, "dice": row["dice"] + 0.25} for row in rows]
        >>> found = compare({"a": Results(rows, [], {}), "b": Results(better, [], {})}, samples=100)
        >>> found.overall.methods["b"].metrics["dice"].rank, found.overall.pairs[0].metrics["dice"].p
        (1.0, 0.0078125)
    """
    check_undefined(undefined)
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    values = score_array(methods, metrics=metrics, label=label, undefined=undefined)
    strata: dict[str, Group] = {}
    for place, stratum in enumerate(STRATA, start=1):
        if (values.strata == stratum).any():
            strata[stratum] = _compare_group(values.within(stratum), samples=samples, seed=(seed, place))
    # An evaluation that is older than the key says nothing of its unit.
    words = next((found.words for found in methods.values() if found.words is not VOLUMES), VOLUMES)
    units = {} if words is VOLUMES else {"size_unit": words.unit}
    return Comparison(
        methods=values.methods,
        metrics=tuple(metric.name for metric in values.metrics),
        overall=_compare_group(values, samples=samples, seed=(seed, 0)),
        strata=strata,
        settings=_settings(values, label=label, samples=samples, seed=seed) | units,
    )


@dataclass(frozen=True, eq=False)
class _ByMetric:
    """Scores of the methods, differences of their pairs (not yet corrected), and ranks.

    `places` has the shape (methods,), `resampled_places` (methods, samples).
    """

    scores: list[Score]
    differences: list[Difference]
    places: np.ndarray
    resampled_places: np.ndarray


def _compare_group(values: ScoreArray, *, samples: int, seed: Sequence[int]) -> Group:
    """Compare methods over the cases of `values`, see `compare`."""
    found = {
        metric.name: _compare_metric(
            metric,
            numbers,
            undefined,
            rule=values.rule if metric.is_distance else "skip",
            samples=samples,
            seed=seed,
        )
        for metric, numbers, undefined in zip(values.metrics, values.values, values.undefined, strict=True)
    }
    ranked = _mean_ranks(found)
    methods = {
        name: Method(
            metrics={metric: of_metric.scores[place] for metric, of_metric in found.items()},
            mean_ranks={over: of_methods[place] for over, of_methods in ranked.items()},
        )
        for place, name in enumerate(values.methods)
    }
    differences = _corrected({metric: of_metric.differences for metric, of_metric in found.items()})
    pairs = tuple(
        MethodPair(first, second, {metric: of_pairs[place] for metric, of_pairs in differences.items()})
        for place, (first, second) in enumerate(combinations(values.methods, 2))
    )
    tests = sum(difference.p is not None for pair in pairs for difference in pair.metrics.values())
    return Group(cases=len(values.strata), methods=methods, pairs=pairs, tests=tests)


def _corrected(differences: dict[str, list[Difference]]) -> dict[str, list[Difference]]:
    """Fill in the corrected p-values, over every pair and metric together."""
    corrected = iter(holm([found.p for of_metric in differences.values() for found in of_metric]))
    return {
        metric: [replace(found, p_holm=next(corrected)) for found in of_metric]
        for metric, of_metric in differences.items()
    }


def _mean_ranks(found: Mapping[str, _ByMetric]) -> dict[str, list[MeanRank]]:
    places = {metric: of_metric.places for metric, of_metric in found.items()}
    resampled = {metric: of_metric.resampled_places for metric, of_metric in found.items()}
    ranked = {}
    for name, over in MEAN_RANKS.items():
        means, firsts = mean_ranks(places, over), share_first(mean_ranks(resampled, over))
        ranked[name] = [MeanRank(_or_none(mean), _or_none(first)) for mean, first in zip(means, firsts, strict=True)]
    return ranked


def _compare_metric(
    metric: Metric, values: np.ndarray, undefined: np.ndarray, *, rule: str, samples: int, seed: Sequence[int]
) -> _ByMetric:
    """Compare methods by one metric.

    `values` has the shape (methods, cases), with signs, NaN where nothing stands for an undefined value; `undefined`,
    of the same shape, is True where the metric is undefined, and `rule` says what was done there. Every metric of a
    group has the same seed of the bootstrap.
    """
    numbers = np.abs(values) if metric.best == "zero" else values
    paired = np.array([first - second for first, second in combinations(numbers, 2)]).reshape(-1, numbers.shape[1])
    resampled = resampled_means(np.concatenate([numbers, paired]), samples=samples, seed=seed)
    of_methods, of_pairs = np.split(resampled, [len(numbers)])
    upward = metric.best == "highest"
    places = ranks(np.array([_mean(row) for row in numbers]), highest_is_best=upward)
    resampled_places = ranks(of_methods, highest_is_best=upward)
    each = zip(values, undefined, of_methods, places, share_first(resampled_places), strict=True)
    return _ByMetric(
        scores=[_score(metric, *of_method, rule=rule) for of_method in each],
        differences=[_difference(*of_pair) for of_pair in zip(paired, of_pairs, strict=True)],
        places=places,
        resampled_places=resampled_places,
    )


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
        mean=_or_none(_mean(np.abs(row) if is_signed else row)),
        low=low,
        high=high,
        signed_mean=_or_none(_mean(row)) if is_signed else None,
        n=n,
        undefined=int(undefined.sum()),
        rule=rule,
        rank=_or_none(rank),
        first=_or_none(first),
    )


def _difference(paired: np.ndarray, resampled: np.ndarray) -> Difference:
    kept = paired[~np.isnan(paired)]
    low, high = interval(resampled, n=len(kept))
    test = signed_rank(kept)
    return Difference(
        mean=_or_none(_mean(paired)),
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


def _or_none(value: float) -> float | None:
    """Return a number as JSON has it: None for NaN."""
    return None if math.isnan(value) else float(value)


def _settings(values: ScoreArray, *, label: str | None, samples: int, seed: int) -> dict[str, Any]:
    over = {name: list(chosen or (metric.name for metric in values.metrics)) for name, chosen in MEAN_RANKS.items()}
    return {
        "label": label,
        "undefined": values.rule,
        "confidence": CONFIDENCE,
        "interval": "percentile bootstrap over cases",
        "samples": samples,
        "seed": seed,
        "test": f"Wilcoxon signed-rank, two-sided, zeros dropped, exact up to {EXACT_UP_TO} differences",
        "correction": "Holm over every pair × metric of the group",
        "mean_ranks": over,
    }
