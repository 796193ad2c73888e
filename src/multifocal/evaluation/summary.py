"""Means over cases that say what they leave out, and lesions by volume: how many of each size are found."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from multifocal.cohorts.lesion_burden import STRATA
from multifocal.errors import unknown_name
from multifocal.limits import at_least
from multifocal.metrics import METRICS, Metric
from multifocal.metrics.metric import Undefined, check_undefined

_BIN_ML = 0.05
_BINS = 20  # up to 1 ml
VOLUME_BINS = (
    "<0.05",
    *(f"{_BIN_ML * number:.2f}-{_BIN_ML * (number + 1):.2f}" for number in range(1, _BINS)),
    ">=1",
)


def summarize(
    rows: Sequence[Mapping[str, Any]], lesions: Sequence[Mapping[str, Any]] = (), *, undefined: Undefined = "skip"
) -> dict[str, Any]:
    """Summarize the rows of `evaluate_cohort` over all cases and per stratum, and the lesions by volume.

    Args:
        rows: one mapping a case with `case`, `stratum`, `diagonal_mm` and metrics of `METRICS` (NaN: undefined); with
            several classes one a case and class, with `label`.
        lesions: one mapping a lesion, see `multifocal.evaluation.Scores`.
        undefined: what stands for an undefined distance. "skip": nothing, it is left out (the rule of the BONBID-HIE
            challenge, under which a case that is missed altogether improves the mean MASD); "diagonal": the diagonal
            of the case's image. Other metrics have no such stand-in and are left out under both.

    Returns:
        `{"undefined": rule, "overall": group, "strata": {stratum: group}, "lesions": {bin: counts}}`; with several
        classes `{"undefined": rule, "labels": {label: {"overall", "strata", "lesions"}}}`. A group holds `cases` and,
        by metric, `mean`, `median`, `std` (sample), `cases`, `undefined` (how many of the cases) and `rule` (what was
        done with them: "skip" or "diagonal"); signed differences also `mean_absolute`. A number that no case defines
        is None. For the lesion counts see `summarize_bins`.

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
    check_undefined(undefined)
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


def volume_bin(volume_ml: float) -> str:
    """Return the bin of a lesion's volume in ml: 20 of 0.05 ml up to 1 ml, and above (seed 004, figures 8 and 12).

    A volume on the border of two bins belongs to the upper one.

    Args:
        volume_ml: above 0.

    Returns:
        One of `VOLUME_BINS`.

    Raises:
        ValueError: the volume is not positive and finite.

    Example:
        >>> volume_bin(0.008), volume_bin(0.05), volume_bin(0.37), volume_bin(12.0)
        ('<0.05', '0.05-0.10', '0.35-0.40', '>=1')
    """
    if not (math.isfinite(volume_ml) and volume_ml > 0):
        raise ValueError(f"volume is {volume_ml}; expected positive, finite ml")
    return VOLUME_BINS[sum(at_least(volume_ml, _BIN_ML * number) for number in range(1, _BINS + 1))]


def summarize_bins(lesions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count the lesions of all cases together, by volume.

    Args:
        lesions: one mapping a lesion with `kind`, `bin`, `matched` and `dice`, as in `Results.lesions`.

    Returns:
        For each bin with a lesion, in the order of `VOLUME_BINS`: `true` lesions, how many of them are `found`, the
        detection `rate` of found to true, the mean `dice` of the true ones (0 where missed), and `false` lesions. A
        rate or mean of no lesions is None.

    Example:
        >>> rows = [{"kind": "true", "bin": "<0.05", "matched": 1, "dice": 0.5}]
        >>> summarize_bins(rows)
        {'<0.05': {'true': 1, 'found': 1, 'rate': 1.0, 'dice': 0.5, 'false': 0}}
    """
    groups: dict[str, list[Mapping[str, Any]]] = {name: [] for name in VOLUME_BINS}
    for lesion in lesions:
        groups[lesion["bin"]].append(lesion)
    return {name: _lesion_counts(members) for name, members in groups.items() if members}


def _summary(
    rows: Sequence[Mapping[str, Any]],
    lesions: Sequence[Mapping[str, Any]],
    metrics: Sequence[Metric],
    undefined: Undefined,
) -> dict[str, Any]:
    groups = {name: [row for row in rows if row["stratum"] == name] for name in STRATA}
    return {
        "overall": _group(rows, metrics, undefined),
        "strata": {name: _group(members, metrics, undefined) for name, members in groups.items()},
        "lesions": summarize_bins(lesions),
    }


def _check(row: Mapping[str, Any], metrics: Sequence[Metric], undefined: Undefined, *, labelled: bool) -> None:
    name = row.get("case", "without a name")
    needed = ["stratum", *(metric.name for metric in metrics), *(["diagonal_mm"] if undefined == "diagonal" else [])]
    needed += ["label"] if labelled else []
    missing = [column for column in needed if column not in row]
    if missing:
        raise ValueError(f"row of case {name} has no {', '.join(missing)}; every row needs the same columns")
    if row["stratum"] not in STRATA:
        raise unknown_name(f"stratum of case {name}:", row["stratum"], STRATA)


def _group(rows: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], undefined: Undefined) -> dict[str, Any]:
    return {"cases": len(rows), "metrics": {metric.name: _statistics(rows, metric, undefined) for metric in metrics}}


def _statistics(rows: Sequence[Mapping[str, Any]], metric: Metric, undefined: Undefined) -> dict[str, Any]:
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


def _lesion_counts(lesions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    true = [lesion for lesion in lesions if lesion["kind"] == "true"]
    found = sum(int(lesion["matched"]) for lesion in true)
    return {
        "true": len(true),
        "found": found,
        "rate": found / len(true) if true else None,
        "dice": float(np.mean([lesion["dice"] for lesion in true])) if true else None,
        "false": len(lesions) - len(true),
    }
