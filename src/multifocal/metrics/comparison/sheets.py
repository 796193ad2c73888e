"""A comparison as tables in the form of the published ones."""

from collections.abc import Iterable, Sequence

from multifocal.metrics.catalogue import METRICS
from multifocal.metrics.comparison.cells import NOTHING, Cell, Sheet, heading, marked, number, p_value
from multifocal.metrics.comparison.outcome import Comparison, Difference, Group, Score

_Column = tuple[str, list[Cell]]


def ranking_sheet(comparison: Comparison, *, with_ranks: bool) -> Sheet:
    """Return one row a method: mean ranks, then each metric's mean and rank r (Rachmadi et al. 2024, table 1)."""
    group = comparison.overall
    columns: list[_Column] = [("method", [Cell(name) for name in group.methods])]
    shown = []
    for over in comparison.settings["mean_ranks"]:
        found = [method.mean_ranks[over].rank for method in group.methods.values()]
        if found[0] is not None:
            shown.append(over)
            columns.append((f"{over} ↓", marked([number(rank, digits=2) for rank in found], found)))
    for metric in comparison.metrics:
        scores = _scores(group, metric)
        ranks = _ranks_of_means(scores)
        columns.append((heading(metric), marked(_means(scores, digits=4), ranks)))
        if with_ranks:
            places = [NOTHING if score.rank is None else f"{score.rank:g}" for score in scores]
            columns.append(("r", marked(places, ranks)))
    note = f"{_ranks_note(comparison, shown)} {_gaps_note(comparison)}".strip()
    return Sheet(f"Ranks over all {group.cases} cases", *_transpose(columns), note=note)


def strata_sheet(comparison: Comparison, *, with_intervals: bool) -> Sheet:
    """Return one row a stratum and method: each metric's mean, with its interval where wanted."""
    rows: list[tuple[Cell, ...]] = []
    for stratum, group in comparison.groups.items():
        place = [[Cell(stratum), Cell(str(group.cases)), Cell(name)] for name in group.methods]
        columns = []
        for metric in comparison.metrics:
            scores = _scores(group, metric)
            texts = _means(scores, digits=3, with_intervals=with_intervals)
            columns.append(marked(texts, _ranks_of_means(scores)))
        rows.extend((*start, *cells) for start, *cells in zip(place, *columns, strict=True))
    titles = ("lesion / brain", "cases", "method", *map(heading, comparison.metrics))
    intervals = "In square brackets 95 % intervals (bootstrap over cases)." if with_intervals else ""
    note = f"{intervals} {_gaps_note(comparison)}".strip()
    return Sheet("By the lesion's share of the brain", titles, tuple(rows), note=note, texts=3)


def pairs_sheet(comparison: Comparison) -> Sheet:
    """Return one row a metric and pair of methods: the paired difference, its interval and its test."""
    group = comparison.overall
    titles = ("metric", "first", "second", "first - second", "95 % interval", "cases", "p", "p (Holm)")
    rows = tuple(
        tuple(Cell(text) for text in (heading(metric), pair.first, pair.second, *_difference(pair.metrics[metric])))
        for metric in comparison.metrics
        for pair in group.pairs
    )
    note = (
        f"Over the cases with a value in both. {comparison.settings['test']}. "
        f"Holm's correction over these {group.tests} tests."
    )
    return Sheet("Paired differences", titles, rows, note=note, texts=3)


def stability_sheet(comparison: Comparison) -> Sheet:
    """Return one row a method: the share of bootstrap samples in which it is ranked first."""
    group = comparison.overall
    columns: list[_Column] = [("method", [Cell(name) for name in group.methods])]
    firsts = {
        over: [method.mean_ranks[over].first for method in group.methods.values()]
        for over in comparison.settings["mean_ranks"]
    }
    firsts |= {
        METRICS[metric].heading: [score.first for score in _scores(group, metric)] for metric in comparison.metrics
    }
    for title, shares in firsts.items():
        found = [share for share in shares if share is not None]
        if found:
            columns.append((title, [Cell(f"{100 * share:.1f} %") for share in found]))
    samples = comparison.settings["samples"]
    note = f"Share of {samples} bootstrap samples in which a method is first. Methods that tie share a sample evenly."
    return Sheet("Stability of the ranking", *_transpose(columns), note=note)


def _scores(group: Group, metric: str) -> list[Score]:
    return [method.metrics[metric] for method in group.methods.values()]


def _ranks_of_means(scores: Sequence[Score]) -> list[float | None]:
    return [score.rank if score.n else None for score in scores]


def _means(scores: Sequence[Score], *, digits: int, with_intervals: bool = False) -> list[str]:
    texts = [number(score.mean, digits=digits) for score in scores]
    if with_intervals:
        texts = [text + _interval(score) for text, score in zip(texts, scores, strict=True)]
    if any(score.undefined for score in scores):
        texts = [f"{text} ({score.undefined})" for text, score in zip(texts, scores, strict=True)]
    return texts


def _interval(score: Score) -> str:
    return "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"


def _difference(found: Difference) -> tuple[str, ...]:
    mean = NOTHING if found.mean is None else f"{found.mean:+.3f}"
    interval = NOTHING if found.low is None else f"[{found.low:+.3f}, {found.high:+.3f}]"
    return mean, interval, str(found.n), p_value(found.p), p_value(found.p_holm)


def _transpose(columns: Iterable[_Column]) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    titles, cells = zip(*columns, strict=True)
    return titles, tuple(zip(*cells, strict=True))


def _ranks_note(comparison: Comparison, shown: Iterable[str]) -> str:
    parts = []
    for name in shown:
        over = ", ".join(METRICS[metric].heading for metric in comparison.settings["mean_ranks"][name])
        parts.append(f"{name} over {'all metrics' if name == 'RA' else over}")
    return f"Means of the ranks r: {'; '.join(parts)}."


def _gaps_note(comparison: Comparison) -> str:
    group = comparison.overall
    if not any(score.undefined for metric in comparison.metrics for score in _scores(group, metric)):
        return ""
    rule = "left out of the mean"
    if comparison.settings["undefined"] == "diagonal":
        rule = f"counted as the image's diagonal where they are distances, else {rule}"
    return f"In round brackets the cases in which the metric is undefined; they are {rule}."
