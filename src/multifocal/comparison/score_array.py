"""The scores of several methods side by side, after checking that they can be compared."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from multifocal.errors import UserError, unknown_name
from multifocal.evaluation import Results
from multifocal.limits import SLACK
from multifocal.metrics import METRICS, Metric
from multifocal.metrics.metric import Undefined

DEFAULT_METRICS = ("pq", "dice", "masd", "nsd", "volume_difference", "fdr", "fnr", "ppv", "sen", "f1")
"""What is compared by default: the metrics of the instance-loss study (Rachmadi et al. 2024), and the challenge's."""

_OF_THE_CASE = ("stratum", "true_ml")
_FREE = {"allow_missing"}  # settings that change no score of a prediction


_SINCE = {"strict": False}  # rules that older evaluations do not name, as they were then


@dataclass(frozen=True, eq=False)
class ScoreArray:
    """Every metric of every method in every case, cases sorted by name so that the order of rows is of no account.

    Attributes:
        methods: their names.
        metrics: the metrics.
        strata: of each case, shape (cases,).
        values: shape (metrics, methods, cases); NaN where nothing stands for an undefined value. Metrics that are best
            at zero keep their signs.
        undefined: the same shape, True where the metric is undefined.
        rule: what stands for an undefined distance.
    """

    methods: tuple[str, ...]
    metrics: tuple[Metric, ...]
    strata: np.ndarray
    values: np.ndarray
    undefined: np.ndarray
    rule: Undefined

    def within(self, stratum: str) -> "ScoreArray":
        """Return the cases of one stratum.

        Args:
            stratum: its name.

        Returns:
            The same methods and metrics for fewer cases.
        """
        chosen = self.strata == stratum
        return replace(
            self,
            strata=self.strata[chosen],
            values=self.values[..., chosen],
            undefined=self.undefined[..., chosen],
        )


def score_array(
    methods: Mapping[str, Results], *, metrics: Sequence[str] | None, label: str | None, undefined: Undefined
) -> ScoreArray:
    """Return the values of the methods for the same cases, of one class where there are several.

    Args:
        methods: results by name.
        metrics: names from `METRICS`; None for those of `DEFAULT_METRICS` that are there.
        label: the class, where several were evaluated.
        undefined: what stands for an undefined distance, "skip" or "diagonal".

    Returns:
        The values, cases sorted by name.

    Raises:
        ValueError: no method, or no metric.
        UserError: methods that differ in cases, true lesions or settings; a metric that is unknown or missing.
    """
    if not methods:
        raise ValueError("methods is empty; expected at least one")
    rows = {name: _by_case(name, results.rows, label=label) for name, results in methods.items()}
    _check_cases(rows)
    _check_settings({name: results.summary.get("settings", {}) for name, results in methods.items()})
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
    return ScoreArray(tuple(rows), tuple(chosen), strata, values, gaps, undefined)


def _choose(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], metrics: Sequence[str] | None) -> list[Metric]:
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


def _by_case(method: str, rows: Sequence[Mapping[str, Any]], *, label: str | None) -> dict[str, Mapping[str, Any]]:
    """Return the rows of one class (None: rows that tell no classes apart) by the name of their case.

    A `UserError` names the method that has no such class, no cases, or a case that comes twice.
    """
    labels = sorted({row["label"] for row in rows if "label" in row})
    if labels or label is not None:
        if label not in labels:
            chosen = "choose one with --label" if label is None else f"{label!r} is not among them"
            raise UserError(f"method {method}: the classes are {', '.join(labels) or 'not told apart'}; {chosen}")
        rows = [row for row in rows if row["label"] == label]
    if not rows:
        raise UserError(f"method {method}: no cases; evaluate some first")
    found = {row["case"]: row for row in rows}
    if len(found) < len(rows):
        doubled = sorted(name for name, count in Counter(row["case"] for row in rows).items() if count > 1)
        raise UserError(f"method {method}: more than one row for {', '.join(doubled)}; keep one of each")
    return found


def _check_cases(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Raise `UserError` unless all methods have the same cases, with the same true lesion."""
    name, reference = next(iter(rows.items()))
    for other, found in rows.items():
        missing, surplus = sorted(reference.keys() - found.keys()), sorted(found.keys() - reference.keys())
        if missing or surplus:
            lacks = [f"{other} lacks {', '.join(missing)}"] if missing else []
            lacks += [f"{name} lacks {', '.join(surplus)}"] if surplus else []
            raise UserError(
                f"methods need the same cases, but {'; '.join(lacks)}; evaluate all methods on the same cases"
            )
        for case, row in found.items():
            for column in _OF_THE_CASE:
                ours, theirs = reference[case].get(column), row.get(column)
                if not _same(ours, theirs):
                    raise UserError(
                        f"case {case}: {column} is {ours} for method {name} and {theirs} for {other}; "
                        "evaluate both against the same labels"
                    )


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two cells agree; a label's volume differs in its last digits where it was kept in another format."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=SLACK)
    return bool(ours == theirs)


def _check_settings(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `UserError` unless all methods were scored by the same rules."""
    (name, reference), *others = ((name, {**_SINCE, **settings}) for name, settings in found.items())
    for other, settings in others:
        for key in sorted((reference.keys() & settings.keys()) - _FREE):
            if reference[key] != settings[key]:
                raise UserError(
                    f"methods were scored differently: {key} is {reference[key]} for {name} "
                    f"and {settings[key]} for {other}; evaluate both alike"
                )
