"""Means over cases that say what they leave out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.errors import unknown_name
from multifocal.metrics.bins import summarize_bins
from multifocal.metrics.catalogue import METRICS, Metric

Undefined = Literal["skip", "diagonal"]
Row = Mapping[str, Any]


def summarize(rows: Sequence[Row], lesions: Sequence[Row] = (), *, undefined: Undefined = "skip") -> dict[str, Any]:
    """Summarize the rows of `evaluate_cohort` over all cases and per stratum, and the lesions by volume.

    Args:
        rows: one mapping a case with `case`, `stratum`, `diagonal_mm` and metrics of `METRICS` (NaN: undefined); with
            several classes one a case and class, with `label`.
        lesions: one mapping a lesion, see `multifocal.metrics.Scores`.
        undefined: what stands for an undefined distance. "skip": nothing, it is left out (the rule of the BONBID-HIE
            challenge, under which a case that is missed altogether improves the mean MASD); "diagonal": the diagonal
            of the case's image. Other metrics have no such stand-in and are left out under both.

    Returns:
        `{"undefined": rule, "overall": group, "strata": {stratum: group}, "lesions": {bin: counts}}`; with several
        classes `{"undefined": rule, "labels": {label: {"overall", "strata", "lesions"}}}`. A group holds `cases` and,
        by metric, `mean`, `median`, `std` (sample), `cases`, `undefined` (how many of the cases) and `rule` (what was
        done with them: "skip" or "diagonal"); signed differences also `mean_absolute`. A number that no case defines
        is None. For the lesion counts see `multifocal.metrics.bins.summarize_bins`.

    Raises:
        ValueError: no rows, an unknown stratum or rule, or a row that lacks what is needed; it names the case.

    Example:
        >>> rows = [
        ...     {"case": "a", "stratum": "<1 %", "diagonal_mm": 200.0, "masd": 1.5},
        ...     {"case": "b", "stratum": "<1 %", "diagonal_mm": 200.0, "masd": float("nan")},
        ... ]
        >>> summarize(rows)["overall"]["metrics"]["masd"]["mean"]
        1.5
        >>> summarize(rows, undefined="diagonal")["strata"]["<1 %"]["metrics"]["masd"]["mean"]
        100.75
    """
    if undefined not in get_args(Undefined):
        raise unknown_name("rule for undefined metrics", undefined, get_args(Undefined))
    if not rows:
        raise ValueError("rows is empty; expected one row a case")
    metrics = [metric for metric in METRICS.values() if any(metric.name in row for row in rows)]
    labelled = any("label" in row for row in rows)
    for row in rows:
        _check(row, metrics, undefined, labelled=labelled)
    if not labelled:
        return {"undefined": undefined, **_summary(rows, lesions, metrics, undefined)}
    labels = {}
    for label in dict.fromkeys(row["label"] for row in rows):
        members, theirs = ([row for row in part if row["label"] == label] for part in (rows, lesions))
        labels[label] = _summary(members, theirs, metrics, undefined)
    return {"undefined": undefined, "labels": labels}


def _summary(
    rows: Sequence[Row], lesions: Sequence[Row], metrics: Sequence[Metric], undefined: Undefined
) -> dict[str, Any]:
    groups = {name: [row for row in rows if row["stratum"] == name] for name in STRATA}
    return {
        "overall": _group(rows, metrics, undefined),
        "strata": {name: _group(members, metrics, undefined) for name, members in groups.items()},
        "lesions": summarize_bins(lesions),
    }


def _check(row: Row, metrics: Sequence[Metric], undefined: Undefined, *, labelled: bool) -> None:
    name = row.get("case", "without a name")
    needed = ["stratum", *(metric.name for metric in metrics), *(["diagonal_mm"] if undefined == "diagonal" else [])]
    needed += ["label"] if labelled else []
    missing = [column for column in needed if column not in row]
    if missing:
        raise ValueError(f"row of case {name} has no {', '.join(missing)}; every row needs the same columns")
    if row["stratum"] not in STRATA:
        raise unknown_name(f"stratum of case {name}:", row["stratum"], STRATA)


def _group(rows: Sequence[Row], metrics: Sequence[Metric], undefined: Undefined) -> dict[str, Any]:
    return {"cases": len(rows), "metrics": {metric.name: _statistics(rows, metric, undefined) for metric in metrics}}


def _statistics(rows: Sequence[Row], metric: Metric, undefined: Undefined) -> dict[str, Any]:
    rule: Undefined = undefined if metric.is_distance else "skip"
    values = np.array([row[metric.name] for row in rows], float)
    missing = np.isnan(values)
    if rule == "diagonal":
        values[missing] = [row["diagonal_mm"] for row, gone in zip(rows, missing, strict=True) if gone]
    else:
        values = values[~missing]
    found = {
        "mean": _or_none(values.mean() if len(values) else math.nan),
        "median": _or_none(np.median(values) if len(values) else math.nan),
        "std": _or_none(values.std(ddof=1) if len(values) > 1 else math.nan),
        "cases": len(rows),
        "undefined": int(missing.sum()),
        "rule": rule,
    }
    if metric.best == "zero":
        found["mean_absolute"] = _or_none(np.abs(values).mean() if len(values) else math.nan)
    return found


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
