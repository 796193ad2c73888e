"""Summaries as tables for the screen."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.metrics import METRICS
from multifocal.metrics.metric import Level

_CASE_METRICS = ("dice", "masd", "nsd", "hd95", "volume_difference")
_LESION_METRICS = ("fdr", "fnr", "ppv", "sen", "f1", "pq", "cc_dice")
_GAPS = {"skip": "left out of the mean", "diagonal": "counted as the diagonal of the image"}


Intervals = Mapping[str, Mapping[str, tuple[float, float]]]
"""Both ends of the interval of a mean, by group ("all", or a stratum) and metric."""


def shown_metrics() -> dict[str, tuple[str, ...]]:
    """Return the metrics that `summary_tables` shows: some of ours, and all that other packages add.

    Returns:
        Their names by the title of the table.
    """
    return {"Cases": _shown("case", _CASE_METRICS), "Lesions": _shown("lesion", _LESION_METRICS)}


def summary_tables(
    summary: Mapping[str, Any], *, intervals: Mapping[str, Intervals] | None = None, words: Wording = VOLUMES
) -> list[Table]:
    """Return what there is to see of a summary: case metrics, lesion metrics and lesions by volume, class by class.

    Args:
        summary: what `summarize` returns.
        intervals: of the means, by class ("" where there is one), see `multifocal.comparison.mean_intervals`.
        words: what sizes and lengths are called.

    Returns:
        The tables for `rich`.

    Example:
        >>> from multifocal.evaluation import summarize
        >>> rows = [{"case": "a", "stratum": "<1 %", "dice": 0.5}]
        >>> [table.title for table in summary_tables(summarize(rows))]
        ['Cases']
    """
    tables = []
    for label, part in summary.get("labels", {"": summary}).items():
        of_label = f" ({label})" if label else ""
        of_means = (intervals or {}).get(label)
        for title, names in shown_metrics().items():
            if present := [name for name in names if name in part["overall"]["metrics"]]:
                tables.append(
                    summary_table(part, metrics=present, title=title + of_label, intervals=of_means, words=words)
                )
        if part["lesions"]:
            tables.append(bins_table(part["lesions"], title=f"Lesions by {words.size}{of_label}", words=words))
    return tables


def bins_table(bins: Mapping[str, Mapping[str, Any]], *, title: str | None = None, words: Wording = VOLUMES) -> Table:
    """Return how many lesions of each volume are found, how well, and how many are false.

    Args:
        bins: what `multifocal.evaluation.summary.summarize_bins` returns.
        title: shown above.
        words: what sizes and lengths are called.

    Returns:
        The table for `rich`.

    Example:
        >>> found = {"true": 4, "found": 3, "rate": 0.75, "dice": 0.5, "false": 1}
        >>> list(bins_table({"<0.05": found}).columns[3].cells)
        ['0.750']
    """
    caption = "Lesions of all cases together; rate: found of the true ones; Dice: mean over the true ones, 0 if missed."
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column(f"{words.size} ({words.unit})")
    for heading in ("true", "found", "rate", "Dice", "false"):
        table.add_column(heading, justify="right")
    for name, group in bins.items():
        rate, dice = _number(group["rate"]), _number(group["dice"])
        table.add_row(words.bin(name), str(group["true"]), str(group["found"]), rate, dice, str(group["false"]))
    return table


def summary_table(
    summary: Mapping[str, Any],
    *,
    metrics: Sequence[str] = ("dice", "masd", "nsd", "volume_difference"),
    title: str | None = None,
    intervals: Intervals | None = None,
    words: Wording = VOLUMES,
) -> Table:
    """Return the means of a summary: one row a stratum and one for all cases, one column a metric.

    Signed differences are shown as the mean of their absolute values. Beside the mean of every metric that can be
    undefined stands in brackets how many cases are; the caption states what was done with them.

    Args:
        summary: what `summarize` returns; with several classes, one of its `labels`.
        metrics: names from `METRICS`.
        title: shown above.
        intervals: of the means, shown below them; None shows none.
        words: what sizes and lengths are called.

    Returns:
        The table for `rich`.

    Example:
        >>> from multifocal.evaluation import summarize
        >>> rows = [{"case": "a", "stratum": "<1 %", "dice": 0.5}]
        >>> table = summary_table(summarize(rows), metrics=["dice"])
        >>> table.row_count, [column.header for column in table.columns]
        (5, ['share of brain', 'cases', 'Dice'])
    """
    caption = _caption(summary, metrics, words, with_intervals=any((intervals or {}).values()))
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column(f"share of {words.whole}")
    table.add_column("cases", justify="right")
    for name in metrics:
        table.add_column(words.heading(METRICS[name]), justify="right")
    for stratum, group in summary["strata"].items():
        ends = (intervals or {}).get(stratum, {})
        table.add_row(stratum, str(group["cases"]), *(_cell(group, name, words, ends.get(name)) for name in metrics))
    table.add_section()
    overall, ends = summary["overall"], (intervals or {}).get("all", {})
    cells = (_cell(overall, name, words, ends.get(name)) for name in metrics)
    table.add_row("all", str(overall["cases"]), *cells, style="bold")
    return table


def _shown(level: Level, own: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that a table of a level shows: some of ours, and all that other packages add."""
    return (*own, *(name for name, metric in METRICS.items() if metric.level == level and not metric.is_own))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cell(group: Mapping[str, Any], name: str, words: Wording, interval: tuple[float, float] | None) -> str:
    found, factor = group["metrics"][name], words.factor(METRICS[name].unit)
    mean = found["mean_absolute" if METRICS[name].best == "zero" else "mean"]
    text = _number(None if mean is None else mean * factor)
    if METRICS[name].undefined_when:
        text = f"{text} ({found['undefined']})"
    return text if interval is None else f"{text}\n{interval[0] * factor:.3f} to {interval[1] * factor:.3f}"


def _caption(summary: Mapping[str, Any], metrics: Sequence[str], words: Wording, *, with_intervals: bool) -> str:
    reasons: dict[tuple[str, str], list[str]] = {}
    for name in metrics:
        if reason := METRICS[name].undefined_when:
            rule = _GAPS[summary["overall"]["metrics"][name]["rule"]]
            reasons.setdefault((reason, rule), []).append(words.name(METRICS[name]))
    below = "; below them 95 % intervals (bootstrap over cases)" if with_intervals else ""
    lines = [f"Means over cases{below}."]
    for (reason, rule), headings in reasons.items():
        lines.append(f"{', '.join(headings)}: in brackets the cases where undefined ({reason}), {rule}.")
    return " ".join(lines)
