"""The first page: tables, charts, and the way to every case."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from multifocal.cohorts import STRATA
from multifocal.evaluation.wording import VOLUMES
from multifocal.metrics import METRICS
from multifocal.reports.cases.page import Thumbnail
from multifocal.reports.cases.parts import METRICS as PART_METRICS
from multifocal.reports.cases.parts import Rows, part_lines
from multifocal.reports.charts.canvas import STYLE, Chart
from multifocal.reports.charts.case_charts import against_volume, boxes
from multifocal.reports.charts.curves import loss_curves, validation_curves
from multifocal.reports.charts.forest import forest
from multifocal.reports.charts.sizes import MEASURES, SMALL, by_bin, size_bars, small_bars
from multifocal.reports.charts.uncertainty import (
    CASE_SCORES,
    LESION_SCORES,
    reliability_chart,
    retention_chart,
    risk_coverage_chart,
)
from multifocal.reports.formatting import facts, file_names
from multifocal.reports.study_data import Arm, StudyData
from multifocal.reports.tables import MEAN_RANKS, Ranking, cell_lines, pair_lines, published, rankings
from multifocal.reports.templating import render

SHOWN = ("dice", "nsd", "masd", "volume_difference", "f1")  # with charts of their own
TABLES = ("table.csv", "table.tex")
EXTREMES = 3  # worst and best cases of each arm


def write_index(data: StudyData, thumbnails: Mapping[str, tuple[str, Thumbnail]], out: Path) -> None:
    """Write `index.html`, every chart as a file of its own in `figures/`, and the tables as data in `data/`.

    Args:
        data: the study.
        thumbnails: page and thumbnail of every case; {} without a cohort.
        out: the report's folder.
    """
    ranked = rankings(data)
    with matplotlib.rc_context(STYLE):
        charts = _charts(data, ranked, {name: page for name, (page, _) in thumbnails.items()})
    figures = [chart for group in charts.values() for chart in group]
    (out / "figures").mkdir()
    files = file_names(chart.name for chart in figures)
    for chart in figures:
        (out / "figures" / f"{files[chart.name]}.svg").write_text(chart.file, encoding="utf-8")
    tables = [name for name in TABLES if (data.comparison_folder / name).exists()]
    (out / "data").mkdir()
    for name in tables:
        shutil.copyfile(data.comparison_folder / name, out / "data" / name)
    page = render(
        "index.html.j2",
        root="",
        data=data,
        rankings=ranked,
        mean_ranks=MEAN_RANKS,
        metrics=list(data.comparison["metrics"]) if data.comparison else [],
        shown=[metric for metric in SHOWN if metric in METRICS],
        charts=charts,
        files=files,
        differences=_differences(data, ranked),
        bins={data.words.bin(name): counts for name, counts in by_bin(data.scored).items()},
        measures=MEASURES,
        small=f"{data.words.bin(SMALL)} {data.words.unit}",
        words=data.words,
        digits=2 if data.words is VOLUMES else 0,
        tables=tables,
        thumbnails=thumbnails,
        cases=_cases(data),
        extremes={arm.name: _extremes(arm, thumbnails) for arm in data.scored},
        cells=cell_lines(data),
        failed=[cell for cell in data.cells if cell.state != "done"],
        facts=[line for line in facts(data.study.about) if not line[0].startswith("published")],
        published=published(data),
        parts=[(arm, list(part_lines(arm.name, arm.rows, _rows(arm)))) for arm in data.arms if arm.parts],
        part_metrics=PART_METRICS,
        unsure=[arm for arm in data.arms if arm.uncertainty],
        bounds=[(arm, bound) for arm in data.arms for bound in (arm.uncertainty or {}).get("missed", ())],
        case_scores={name: score.heading for name, score in CASE_SCORES.items()},
        lesion_scores={name: score.heading for name, score in LESION_SCORES.items()},
    )
    (out / "index.html").write_text(page, encoding="utf-8")


def write_classes(parts: Sequence[StudyData], out: Path) -> None:
    """Write the `index.html` that leads to the report of each class.

    Args:
        parts: the study, class by class.
        out: the report's folder, where each class has a folder of its name.
    """
    study = parts[0].study.study
    shown = [METRICS[name] for name in SHOWN if name in METRICS and METRICS[name].best != "zero"]
    page = render(
        "classes.html.j2",
        root=f"{parts[0].label}/",
        name=study.name,
        description=study.description,
        parts=parts,
        shown=shown,
        words=parts[0].words,
    )
    (out / "index.html").write_text(page, encoding="utf-8")


def _charts(data: StudyData, ranked: Sequence[Ranking], pages: Mapping[str, str]) -> dict[str, list[Chart]]:
    """Draw everything, by section (and by what its switch chooses)."""
    arms, words = data.scored, data.words
    drawn: dict[str, list[Chart | None]] = {}
    if ranked and ranked[0].rows and data.comparison:
        overall, first = data.comparison["overall"], ranked[0].rows[0].arm.name
        drawn["forest"] = [
            forest(arms, overall, metric, to=first, words=words) for metric in data.comparison["metrics"]
        ]
    groups = ["all", *(name for name in STRATA if any(row["stratum"] == name for arm in arms for row in arm.rows))]
    for metric in SHOWN:
        drawn[f"boxes-{metric}"] = [boxes(arms, metric, group=group, pages=pages, words=words) for group in groups]
    if bins := by_bin(arms):
        for measure in MEASURES:
            drawn[f"sizes-{measure}"] = [size_bars(arms, bins, measure, words=words)]
    drawn["small"] = [small_bars(arms, words=words)]
    drawn["validation"] = [validation_curves(data.arms, data.cells)]
    drawn["loss"] = [loss_curves(arm, data.cells) for arm in data.arms]
    unsure = {"risk": risk_coverage_chart, "retention": retention_chart, "reliability": reliability_chart}
    drawn |= {name: [draw(arm) for arm in arms] for name, draw in unsure.items()}
    drawn["volume"] = [against_volume(arm, arms, pages=pages, words=words) for arm in arms]
    return {name: [chart for chart in group if chart] for name, group in drawn.items()}


def _differences(data: StudyData, ranked: Sequence[Ranking]) -> list[Any]:
    if not ranked or not ranked[0].rows or not data.comparison:
        return []
    return list(pair_lines(ranked[0], data.comparison["overall"], data.comparison["metrics"]))


def _rows(arm: Arm) -> Mapping[str, Rows]:
    return {part.name: part.rows for part in arm.parts}


def _cases(data: StudyData) -> list[dict[str, Any]]:
    """Return a line a case: what is true of it, and every arm's Dice."""
    found: dict[str, dict[str, Any]] = {}
    for arm in data.scored:
        for row in arm.rows:
            line = {"name": row["case"], "stratum": row["stratum"], "true_ml": row["true_ml"], "dice": {}}
            found.setdefault(str(row["case"]), line)["dice"][arm.name] = row["dice"]
    return list(found.values())


def _extremes(arm: Arm, thumbnails: Mapping[str, tuple[str, Thumbnail]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of an arm's worst and best cases by Dice; no case is both."""
    rows = sorted((row for row in arm.rows if row["case"] in thumbnails), key=lambda row: (row["dice"], row["case"]))
    count = min(EXTREMES, len(rows) // 2)
    return {"worst": rows[:count], "best": rows[::-1][:count]}
