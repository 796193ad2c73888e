"""The files of a comparison."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multifocal.files import write_csv, write_json, write_text
from multifocal.metrics.comparison.outcome import Comparison
from multifocal.metrics.comparison.rendering import latex, markdown
from multifocal.metrics.comparison.sheets import pairs_sheet, ranking_sheet, stability_sheet, strata_sheet


def write_comparison(comparison: Comparison, out: str | Path) -> None:
    """Write `comparison.json`, `table.csv`, `table.md` and `table.tex` into a folder, each whole or not at all.

    The JSON holds the fields of `Comparison` (what no case defines is null). The CSV has one row a group (a stratum, or
    `all`), method and metric, and one a mean rank. The Markdown and LaTeX tables have the form of the published ones:
    best bold, second underlined; Markdown has the paired differences, too.

    Args:
        comparison: what `compare` returns.
        out: the folder, made if need be; files of these names in it are replaced.

    Raises:
        UserError: a file cannot be written.
    """
    folder = Path(out)
    ranking, stability = ranking_sheet(comparison, with_ranks=True), stability_sheet(comparison)
    strata = strata_sheet(comparison, with_intervals=True)
    sheets = [ranking, strata, *([pairs_sheet(comparison)] if comparison.overall.pairs else []), stability]
    tex = [ranking, strata_sheet(comparison, with_intervals=False), stability]
    rows = list(_rows(comparison))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(folder / "table.csv", rows, columns=columns)
    write_text(folder / "table.md", "\n\n".join(map(markdown, sheets)) + "\n")
    write_text(folder / "table.tex", "\n\n".join(["% needs: booktabs, graphicx", *map(latex, tex)]) + "\n")
    write_json(folder / "comparison.json", comparison.to_json())


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for name, group in comparison.groups.items():
        for method, found in group.methods.items():
            place = {"group": name, "cases": group.cases, "method": method}
            for metric, score in found.metrics.items():
                yield {**place, "metric": metric, **asdict(score)}
            for over, mean_rank in found.mean_ranks.items():
                yield {**place, "metric": over, **asdict(mean_rank)}
