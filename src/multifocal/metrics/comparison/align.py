"""The values of several methods side by side, after checking that they can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from multifocal.errors import UserError, unknown_name
from multifocal.metrics.catalogue import METRICS, Metric
from multifocal.metrics.comparison.checks import by_case, check_cases, check_settings
from multifocal.metrics.results import Results
from multifocal.metrics.summary import Row, Undefined

DEFAULT_METRICS = ("pq", "dice", "masd", "nsd", "volume_difference", "fdr", "fnr", "ppv", "sen", "f1")
"""What is compared by default: the metrics of the instance-loss study (Rachmadi et al. 2024), and the challenge's."""


@dataclass(frozen=True, eq=False)
class Values:
    """Every metric of every method in every case, cases sorted by name so that the order of rows is of no account.

    `values` and `undefined` have the shape (metrics, methods, cases). A value is NaN where nothing stands for it;
    metrics that are best at zero keep their signs.
    """

    methods: tuple[str, ...]
    metrics: tuple[Metric, ...]
    strata: np.ndarray
    values: np.ndarray
    undefined: np.ndarray
    rule: Undefined

    def within(self, stratum: str) -> "Values":
        """Return the cases of one stratum."""
        chosen = self.strata == stratum
        return replace(
            self,
            strata=self.strata[chosen],
            values=self.values[..., chosen],
            undefined=self.undefined[..., chosen],
        )


def align(
    methods: Mapping[str, Results], *, metrics: Sequence[str] | None, label: str | None, undefined: Undefined
) -> Values:
    """Return the values of the methods for the same cases, of one class where there are several.

    Raises:
        UserError: methods that differ in cases, true lesions or settings; a metric that is unknown or missing.
    """
    if not methods:
        raise ValueError("methods is empty; expected at least one")
    rows = {name: by_case(name, results.rows, label=label) for name, results in methods.items()}
    check_cases(rows)
    check_settings({name: results.summary.get("settings", {}) for name, results in methods.items()})
    first = next(iter(rows.values()))
    cases = sorted(first)
    chosen = _choose(rows, metrics)
    values = np.array(
        [[[of_method[case][metric.name] for case in cases] for of_method in rows.values()] for metric in chosen], float
    )
    if np.isinf(values).any():
        a, b, c = (int(place) for place in np.argwhere(np.isinf(values))[0])
        raise UserError(f"method {list(rows)[b]}: case {cases[c]}: {chosen[a].name} is infinite; evaluate it again")
    gaps = np.isnan(values)
    if undefined == "diagonal":
        diagonals = np.array([[of_method[case]["diagonal_mm"] for case in cases] for of_method in rows.values()], float)
        for place, metric in enumerate(chosen):
            if metric.is_distance:
                values[place] = np.where(gaps[place], diagonals, values[place])
    strata = np.array([first[case]["stratum"] for case in cases])
    return Values(tuple(rows), tuple(chosen), strata, values, gaps, undefined)


def _choose(rows: Mapping[str, Mapping[str, Row]], metrics: Sequence[str] | None) -> list[Metric]:
    present = {name: set.intersection(*(set(row) for row in found.values())) for name, found in rows.items()}
    rankable = [metric.name for metric in METRICS.values() if metric.best]
    if metrics is None:
        metrics = [name for name in DEFAULT_METRICS if all(name in columns for columns in present.values())]
        if not metrics:
            raise UserError(f"the methods share none of {', '.join(DEFAULT_METRICS)}; evaluate them again")
    if not metrics:
        raise ValueError("metrics is empty; expected names of METRICS, or None for the usual ones")
    for name in metrics:
        if name not in rankable:
            raise unknown_name("metric to compare", name, rankable)
        if lacking := [method for method, columns in present.items() if name not in columns]:
            raise UserError(
                f"no {name} in the evaluation of {', '.join(lacking)}; evaluate again, or compare without it"
            )
    return [METRICS[name] for name in dict.fromkeys(metrics)]
