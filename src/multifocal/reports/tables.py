"""The tables of a report's first page, ready to be filled into a template."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from multifocal.metrics import METRICS
from multifocal.reports.charts.forest import Difference, differences
from multifocal.reports.study_data import Arm, CellRecord, StudyData
from multifocal.studies.tables import cell_medians

MEAN_RANKS = {
    "RA": ("mean rank", "Mean of the ranks over all metrics shown"),
    "challenge": ("challenge rank", "Mean of the ranks in Dice, MASD and NSD, as in the BONBID-HIE challenge"),
}


class RankedRow(NamedTuple):
    """One arm in one group of cases: its mean ranks and its scores by metric, as `comparison.json` has them."""

    arm: Arm
    ranks: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, Any]]


class Ranking(NamedTuple):
    """The arms of one group of cases, best mean rank first; those that tie in the study's order."""

    name: str
    cases: int
    rows: tuple[RankedRow, ...]
    best: Mapping[str, float | None]

    @property
    def first(self) -> tuple[str, ...]:
        """Names of all arms that share the best mean rank; none where none has a rank."""
        ranks = [(row.arm.name, _mean_rank(row)) for row in self.rows]
        lowest = min((rank for _, rank in ranks), default=math.inf)
        return tuple(name for name, rank in ranks if rank == lowest < math.inf)


class PublishedRow(NamedTuple):
    """What a paper reports of an arm, and what it scores here: (theirs, ours) by column."""

    arm: str
    cells: tuple[tuple[float | None, float | None], ...]


class Published(NamedTuple):
    """A paper's numbers; `columns` are its names of metrics, each with ours (None where there is no such)."""

    source: str
    data: str
    columns: tuple[tuple[str, str | None], ...]
    rows: tuple[PublishedRow, ...]


class CellLine(NamedTuple):
    """What the cells of one arm took, as medians over those that are done."""

    arm: Arm
    done: int
    failed: int
    epochs: float | None
    epochs_to_best: float | None
    seconds: float | None
    step_ms: float | None
    peak_mib: float | None


def rankings(data: StudyData) -> list[Ranking]:
    """Return all cases first, then the strata that have cases; [] without a comparison."""
    if data.comparison is None:
        return []
    groups = {"all": data.comparison["overall"], **data.comparison["strata"]}
    return [_ranking(name, group, data.arms) for name, group in groups.items()]


def _ranking(name: str, group: Mapping[str, Any], arms: Sequence[Arm]) -> Ranking:
    rows = [
        RankedRow(arm, group["methods"][arm.name]["mean_ranks"], group["methods"][arm.name]["metrics"])
        for arm in arms
        if arm.name in group["methods"]
    ]
    rows.sort(key=_mean_rank)
    metrics = dict.fromkeys(metric for row in rows for metric in row.scores)
    return Ranking(name, int(group["cases"]), tuple(rows), {metric: _best(rows, metric) for metric in metrics})


def _mean_rank(row: RankedRow) -> float:
    """Return the rank that arms are sorted by; means of ranks that are equal may differ in the last digit."""
    rank = row.ranks["RA"]["rank"]
    return math.inf if rank is None else round(rank, 9)


def _best(rows: Sequence[RankedRow], metric: str) -> float | None:
    means = [row.scores[metric]["mean"] for row in rows if row.scores[metric]["mean"] is not None]
    choose = max if METRICS[metric].best == "highest" else min
    return choose(means) if means else None


def published(data: StudyData) -> Published | None:
    """Return the numbers that come with a ready-made study, None where there are none."""
    found = data.study.study.published
    if found is None:
        return None
    values = found.values
    ours = {metric.heading.casefold(): metric.name for metric in METRICS.values()}
    names = dict.fromkeys(name for of_arm in values.values() for name in of_arm)
    columns = tuple((name, ours.get(name.casefold())) for name in names)
    overall = data.comparison["overall"]["methods"] if data.comparison else {}

    def here(arm: str, metric: str | None) -> float | None:
        return overall.get(arm, {}).get("metrics", {}).get(metric, {}).get("mean")

    rows = tuple(
        PublishedRow(arm, tuple((of_arm.get(name), here(arm, metric)) for name, metric in columns))
        for arm, of_arm in values.items()
    )
    return Published(found.source, found.data, columns, rows)


def pair_lines(ranking: Ranking, group: Mapping[str, Any], metrics: Sequence[str]) -> Iterator[tuple[str, Difference]]:
    """Yield (metric, difference) of every arm from the first one of the table."""
    for metric in metrics:
        for found in differences(group, metric, to=ranking.rows[0].arm.name):
            yield metric, found


def cell_lines(data: StudyData) -> list[CellLine]:
    """Return the cells arm by arm."""
    return [_line(arm, [cell for cell in data.cells if cell.arm in (arm.trained or (arm.name,))]) for arm in data.arms]


def _line(arm: Arm, cells: Sequence[CellRecord]) -> CellLine:
    done = [cell.outcome for cell in cells if cell.outcome and cell.state == "done"]
    failed = sum(cell.state == "failed" for cell in cells)
    return CellLine(arm, len(done), failed, **cell_medians(done))
