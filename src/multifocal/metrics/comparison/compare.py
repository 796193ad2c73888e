"""Compare methods over the same cases: ranks, intervals, tests, and how stable the ranking is."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.errors import unknown_name
from multifocal.metrics.comparison.align import Values, align
from multifocal.metrics.comparison.bootstrap import CONFIDENCE
from multifocal.metrics.comparison.group import compare_group
from multifocal.metrics.comparison.outcome import Comparison, Group
from multifocal.metrics.comparison.ranks import MEAN_RANKS
from multifocal.metrics.comparison.wilcoxon import EXACT_UP_TO
from multifocal.metrics.results import Results
from multifocal.metrics.summary import Undefined


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
        undefined: what stands for an undefined distance, for all methods alike; see `multifocal.metrics.summarize`.
        samples: bootstrap samples of each group.
        seed: of the bootstrap.

    Raises:
        UserError: methods that differ in cases, true lesions or settings; a metric that is unknown or missing.
        ValueError: no method, or an option is not valid.

    Source:
        Ranks r, RA, RG, RI: Rachmadi, Byra, Skibbe, "A new family of instance-level loss functions" (2024), section
        3.5; mean rank over Dice, MASD, NSD: BONBID-HIE challenge 2023; ranking stability: Wiesenfarth et al. 2021.

    Example:
        >>> from multifocal.metrics import Results
        >>> rows = [{"case": str(i), "stratum": "<1 %", "dice": 0.5 + i / 100} for i in range(8)]
        >>> better = [{**row, "dice": row["dice"] + 0.25} for row in rows]
        >>> found = compare({"a": Results(rows, [], {}), "b": Results(better, [], {})}, samples=100)
        >>> found.overall.methods["b"].metrics["dice"].rank, found.overall.pairs[0].metrics["dice"].p
        (1.0, 0.0078125)
    """
    if undefined not in get_args(Undefined):
        raise unknown_name("rule for undefined metrics", undefined, get_args(Undefined))
    if samples < 1:
        raise ValueError(f"samples is {samples}; expected 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    values = align(methods, metrics=metrics, label=label, undefined=undefined)
    strata: dict[str, Group] = {}
    for place, stratum in enumerate(STRATA, start=1):
        if (values.strata == stratum).any():
            strata[stratum] = compare_group(values.within(stratum), samples=samples, seed=(seed, place))
    return Comparison(
        methods=values.methods,
        metrics=tuple(metric.name for metric in values.metrics),
        overall=compare_group(values, samples=samples, seed=(seed, 0)),
        strata=strata,
        settings=_settings(values, label=label, samples=samples, seed=seed),
    )


def _settings(values: Values, *, label: str | None, samples: int, seed: int) -> dict[str, Any]:
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
