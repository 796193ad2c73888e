"""The comparison over one group of cases."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from multifocal.metrics.comparison.align import Values
from multifocal.metrics.comparison.metric import ByMetric, compare_metric, or_none
from multifocal.metrics.comparison.outcome import Difference, Group, MeanRank, Method, Pair
from multifocal.metrics.comparison.ranks import MEAN_RANKS, mean_ranks, share_first
from multifocal.metrics.comparison.wilcoxon import holm


def compare_group(values: Values, *, samples: int, seed: Sequence[int]) -> Group:
    """Compare methods over the cases of `values`, see `multifocal.metrics.comparison.compare`."""
    found = {
        metric.name: compare_metric(
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
        Pair(first, second, {metric: of_pairs[place] for metric, of_pairs in differences.items()})
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


def _mean_ranks(found: Mapping[str, ByMetric]) -> dict[str, list[MeanRank]]:
    places = {metric: of_metric.places for metric, of_metric in found.items()}
    resampled = {metric: of_metric.resampled_places for metric, of_metric in found.items()}
    ranked = {}
    for name, over in MEAN_RANKS.items():
        means, firsts = mean_ranks(places, over), share_first(mean_ranks(resampled, over))
        ranked[name] = [MeanRank(or_none(mean), or_none(first)) for mean, first in zip(means, firsts, strict=True)]
    return ranked
