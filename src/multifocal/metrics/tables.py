"""Summaries as tables for the screen."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from multifocal.metrics.catalogue import METRICS

RULES = {"skip": "left out of the mean", "diagonal": "counted as the diagonal of the image"}


def summary_table(
    summary: dict[str, Any], *, metrics: Sequence[str] = ("dice", "masd", "nsd", "volume_difference")
) -> Table:
    """Return the means of a summary: one row a stratum and one for all cases, one column a metric.

    Signed differences are shown as the mean of their absolute values. Beside the mean of every metric that can be
    undefined stands in brackets how many cases are; the caption states what was done with them.

    Args:
        summary: what `summarize` returns.
        metrics: names from `METRICS`.

    Example:
        >>> from multifocal.metrics import summarize
        >>> rows = [{"case": "a", "stratum": "<1 %", "dice": 0.5}]
        >>> table = summary_table(summarize(rows), metrics=["dice"])
        >>> table.row_count, [column.header for column in table.columns]
        (5, ['share of brain', 'cases', 'Dice'])
    """
    table = Table(caption=_caption(summary, metrics), caption_justify="left")
    table.add_column("share of brain")
    table.add_column("cases", justify="right")
    for name in metrics:
        table.add_column(_heading(name), justify="right")
    for stratum, group in summary["strata"].items():
        table.add_row(stratum, str(group["cases"]), *(_cell(group, name) for name in metrics))
    table.add_section()
    overall = summary["overall"]
    table.add_row("all", str(overall["cases"]), *(_cell(overall, name) for name in metrics), style="bold")
    return table


def _heading(name: str) -> str:
    metric = METRICS[name]
    text = f"|{metric.heading}|" if metric.best == "zero" else metric.heading
    return text if metric.unit == "1" else f"{text} ({metric.unit})"


def _cell(group: dict[str, Any], name: str) -> str:
    found = group["metrics"][name]
    value = found["mean_absolute" if METRICS[name].best == "zero" else "mean"]
    text = "-" if value is None else f"{value:.3f}"
    return f"{text} ({found['undefined']})" if METRICS[name].undefined_when else text


def _caption(summary: dict[str, Any], metrics: Sequence[str]) -> str:
    doubtful = [METRICS[name] for name in metrics if METRICS[name].undefined_when]
    lines = ["Means over cases."]
    for metric in doubtful:
        rule = summary["overall"]["metrics"][metric.name]["rule"]
        lines.append(f"{metric.heading}: in brackets the cases where it is undefined ({metric.undefined_when}),")
        lines.append(f"{RULES[rule]}.")
    return " ".join(lines)
