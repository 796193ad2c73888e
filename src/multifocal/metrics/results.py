"""The files of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multifocal.files import write_csv, write_json
from multifocal.metrics.catalogue import METRICS
from multifocal.metrics.summary import Row, Undefined, summarize

COLUMNS = ("case", *METRICS, "stratum", "share_of_brain", "diagonal_mm")


def write_results(
    rows: Sequence[Row], out: str | Path, *, undefined: Undefined = "skip", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `cases.csv` and `summary.json` into a folder, each whole or not at all, and return the summary.

    `cases.csv` has one row a case under `COLUMNS`; an undefined metric reads `nan`. `summary.json` holds the summary
    (see `summarize`; a number that no case defines is null), the unit and best direction of each metric, and the
    settings.

    Args:
        rows: what `evaluate_cohort` returns.
        out: the folder, made if need be; files of these names in it are replaced.
        undefined: what stands for an undefined distance in the summary, see `summarize`.
        settings: how the rows came about (tolerance, convention, ...), to be kept beside the numbers.

    Raises:
        UserError: a file cannot be written.
        ValueError: the rows cannot be summarized.
    """
    summary = summarize(rows, undefined=undefined)
    facts = {name: {"unit": metric.unit, "best": metric.best} for name, metric in METRICS.items()}
    write_csv(Path(out) / "cases.csv", rows, columns=COLUMNS)
    write_json(Path(out) / "summary.json", {**summary, "settings": dict(settings or {}), "metrics": facts})
    return summary
