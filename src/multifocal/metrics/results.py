"""What an evaluation found, and the files that hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multifocal.files import write_csv, write_json
from multifocal.metrics.catalogue import METRICS
from multifocal.metrics.summary import Undefined, summarize

COLUMNS = ("case", *METRICS, "stratum", "share_of_brain", "diagonal_mm")
LESION_COLUMNS = ("case", "label", "kind", "volume_ml", "x_mm", "y_mm", "z_mm", "matched", "dice", "bin")
CASES, LESIONS, SUMMARY = "cases.csv", "lesions.csv", "summary.json"


@dataclass(frozen=True)
class Scores:
    """The cases of a cohort and their lesions.

    Attributes:
        rows: one a case, with the columns of `COLUMNS`: its name, every metric of `METRICS` (NaN: undefined), its
            stratum, the share of the true lesion in the brain, and the image's diagonal. With several classes one a
            case and class, with a column `label` after `case`.
        lesions: one for every true lesion, and every false one (predicted, but matched by no true one), with the
            columns of `LESION_COLUMNS`: `label` is the class, `kind` "true" or "false", `x_mm` to `z_mm` the centre of
            mass in LPS (a 2D image has no z: NaN), `matched` 0 or 1, `dice` that of the best match (0 without one),
            `bin` one of `multifocal.metrics.VOLUME_BINS`.
        settings: how they were scored.
    """

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """An evaluation as it is on disk: rows and lesions as in `Scores`, and the summary (see `write_results`)."""

    rows: list[dict[str, Any]]
    lesions: list[dict[str, Any]]
    summary: dict[str, Any]


def write_results(
    scores: Scores, out: str | Path, *, undefined: Undefined = "skip", settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `cases.csv`, `lesions.csv` and `summary.json` into a folder, each whole or not at all.

    An undefined metric reads `nan` in `cases.csv`; a number that no case defines is null in `summary.json`, which also
    holds the settings, and unit, level and best direction of each metric.

    Args:
        scores: what `evaluate_cohort` returns.
        out: the folder, made if need be; files of these names in it are replaced.
        undefined: what stands for an undefined distance in the summary, see `summarize`.
        settings: more to be kept with the settings of the scores.

    Returns:
        What `summarize` returns, and the settings.

    Raises:
        UserError: a file cannot be written.
        ValueError: the rows cannot be summarized.
    """
    found = summarize(scores.rows, scores.lesions, undefined=undefined)
    summary = {**found, "settings": {**scores.settings, **(settings or {})}}
    facts = {name: {"unit": m.unit, "level": m.level, "best": m.best} for name, m in METRICS.items()}
    columns = (COLUMNS[0], "label", *COLUMNS[1:]) if "label" in scores.rows[0] else COLUMNS
    write_csv(Path(out) / CASES, scores.rows, columns=columns)
    write_csv(Path(out) / LESIONS, scores.lesions, columns=LESION_COLUMNS)
    write_json(Path(out) / SUMMARY, {**summary, "metrics": facts})
    return summary
