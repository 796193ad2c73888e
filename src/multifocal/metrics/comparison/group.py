"""The comparison over one group of cases."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from multifocal.metrics.catalogue import Metric
from multifocal.metrics.comparison.align import Values
from multifocal.metrics.comparison.bootstrap import interval, resampled_means
from multifocal.metrics.comparison.outcome import Difference, Group, MeanRank, Method, Pair, Score
from multifocal.metrics.comparison.ranks import MEAN_RANKS, mean_ranks, ranks, share_first
from multifocal.metrics.comparison.wilcoxon import holm, signed_rank


def compare_group(values: Values, *, samples: int, seed: Sequence[int]) -> Group:
    """Compare methods over the cases of `values`, see `multifocal.metrics.comparison.compare`."""
    pairs = list(combinations(range(len(values.methods)), 2))
    scores: dict[str, list[Score]] = {}
    differences: dict[str, list[Difference]] = {}
    places: dict[str, np.ndarray] = {}
    resampled_places: dict[str, np.ndarray] = {}
    for metric, signed, undefined in zip(values.metrics, values.values, values.undefined, strict=True):
        numbers = np.abs(signed) if metric.best == "zero" else signed
        paired = np.array([numbers[a] - numbers[b] for a, b in pairs]).reshape(-1, numbers.shape[1])
        resampled = resampled_means(np.concatenate([numbers, paired]), samples=samples, seed=seed)
        of_methods, of_pairs = np.split(resampled, [len(numbers)])
        upward = metric.best == "highest"
        places[metric.name] = ranks(_means(numbers), highest_is_best=upward)
        resampled_places[metric.name] = ranks(of_methods, highest_is_best=upward)
        rule = values.rule if metric.is_distance else "skip"
        scores[metric.name] = [
            _score(metric, *row, rule=rule)
            for row in zip(
                signed,
                undefined,
                of_methods,
                places[metric.name],
                share_first(resampled_places[metric.name]),
                strict=True,
            )
        ]
        differences[metric.name] = [_difference(*row) for row in zip(paired, of_pairs, strict=True)]
    corrected = _correct(differences)
    ranked = _mean_ranks(places, resampled_places)
    return Group(
        cases=len(values.strata),
        methods={
            name: Method(
                metrics={metric: found[k] for metric, found in scores.items()},
                mean_ranks={over: found[k] for over, found in ranked.items()},
            )
            for k, name in enumerate(values.methods)
        },
        pairs=tuple(
            Pair(values.methods[a], values.methods[b], {metric: found[k] for metric, found in corrected.items()})
            for k, (a, b) in enumerate(pairs)
        ),
        tests=sum(found.p is not None for of_metric in corrected.values() for found in of_metric),
    )


def _score(
    metric: Metric,
    signed: np.ndarray,
    undefined: np.ndarray,
    resampled: np.ndarray,
    rank: float,
    first: float,
    *,
    rule: str,
) -> Score:
    kept = signed[~np.isnan(signed)]
    low, high = interval(resampled, n=len(kept))
    is_signed = metric.best == "zero"
    return Score(
        mean=_or_none(_mean(np.abs(kept) if is_signed else kept)),
        low=low,
        high=high,
        signed_mean=_or_none(_mean(kept)) if is_signed else None,
        n=len(kept),
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
        mean=_or_none(_mean(kept)),
        low=low,
        high=high,
        n=len(kept),
        nonzero=test.nonzero,
        p=test.p,
        p_holm=None,
        note=test.note,
    )


def _correct(differences: dict[str, list[Difference]]) -> dict[str, list[Difference]]:
    """Fill in the corrected p-values, over every pair and metric together."""
    corrected = iter(holm([found.p for of_metric in differences.values() for found in of_metric]))
    return {
        metric: [replace(found, p_holm=next(corrected)) for found in of_metric]
        for metric, of_metric in differences.items()
    }


def _mean_ranks(places: dict[str, np.ndarray], resampled: dict[str, np.ndarray]) -> dict[str, list[MeanRank]]:
    found = {}
    for name, over in MEAN_RANKS.items():
        means = mean_ranks(places, over)
        firsts = share_first(mean_ranks(resampled, over))
        found[name] = [MeanRank(_or_none(mean), _or_none(first)) for mean, first in zip(means, firsts, strict=True)]
    return found


def _means(numbers: np.ndarray) -> np.ndarray:
    return np.array([_mean(row[~np.isnan(row)]) for row in numbers])


def _mean(kept: np.ndarray) -> float:
    return float(kept.mean()) if len(kept) else math.nan


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
