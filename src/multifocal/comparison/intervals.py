"""Intervals of the means of one evaluation, the same that a comparison gives."""

from collections.abc import Sequence

import numpy as np

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.comparison.score_array import score_array
from multifocal.comparison.statistics import interval, resampled_means
from multifocal.evaluation import Results
from multifocal.evaluation.tables import Intervals
from multifocal.metrics import METRICS
from multifocal.metrics.metric import Undefined


def mean_intervals(
    results: Results,
    *,
    metrics: Sequence[str],
    label: str | None = None,
    undefined: Undefined = "skip",
    samples: int = 10_000,
    seed: int = 0,
) -> Intervals:
    """Return 95 % percentile intervals of the means over bootstrap samples of the cases, for all cases and by stratum.

    The samples are those of `compare`, so the intervals are, too.

    Args:
        results: the evaluation.
        metrics: names from `METRICS`; those without a best direction are passed over.
        label: the class, where several were evaluated.
        undefined: what stands for an undefined distance.
        samples: bootstrap samples of each group.
        seed: of the bootstrap.

    Returns:
        Both ends by group ("all", or a stratum) and metric; no entry where there are fewer than two values.

    Example:
        >>> rows = [{"case": str(i), "stratum": "<1 %", "dice": i / 8} for i in range(8)]
        >>> found = mean_intervals(Results(rows, [], {}), metrics=["dice"], samples=100)
        >>> [[round(end, 2) for end in found[group]["dice"]] for group in ("all", "<1 %")]
        [[0.29, 0.62], [0.21, 0.65]]
    """
    chosen = [name for name in metrics if METRICS[name].best]
    if not chosen:
        return {}
    values = score_array({"": results}, metrics=chosen, label=label, undefined=undefined)
    signed = np.array([metric.best == "zero" for metric in values.metrics])
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for place, name in enumerate(("all", *STRATA)):
        group = values if name == "all" else values.within(name)
        if not len(group.strata):
            continue
        numbers = np.where(signed[:, None], np.abs(group.values[:, 0]), group.values[:, 0])
        means = resampled_means(numbers, samples=samples, seed=(seed, place))
        found[name] = {}
        for metric, row, resampled in zip(chosen, numbers, means, strict=True):
            low, high = interval(resampled, n=int(np.count_nonzero(~np.isnan(row))))
            if low is not None and high is not None:
                found[name][metric] = low, high
    return found
