"""A comparison as tables in the form of the published ones: on the screen, and in files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from multifocal.comparison.result import Comparison, Difference, Group, Score
from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.files import write_csv, write_json, write_text
from multifocal.metrics import METRICS

Mark = Literal["", "best", "second"]
NOTHING = "–"
_MARKDOWN = {character: f"\\{character}" for character in "\\`*_<|~"}
_FEW_ROWS = 6
_LATEX = {
    "\\": r"\textbackslash{}",
    "[": "{[}",  # at the start of a row they would be read as options of the row before
    "*": "{*}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "×": r"$\times$",
}


@dataclass(frozen=True)
class TableCell:
    """One cell of a table.

    Attributes:
        text: what it shows.
        mark: whether it is the best or second best of its column.
    """

    text: str
    mark: Mark = ""


@dataclass(frozen=True)
class ResultTable:
    """A table, whatever it is shown in.

    Attributes:
        title: above it.
        columns: their headings.
        rows: cells, one a column.
        note: below it, or empty.
        texts: how many columns, from the first on, are text; the others are numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    note: str
    texts: int = 1


_Column = tuple[str, list[TableCell]]


def write_comparison(comparison: Comparison, out: str | Path) -> None:
    """Write `comparison.json`, `table.csv`, `table.md` and `table.tex` into a folder, each whole or not at all.

    The JSON holds the fields of `Comparison` (what no case defines is null). The CSV has one row a group (a stratum, or
    `all`), method and metric, and one a mean rank. Sizes are in ml in both, and in the words' unit in the tables. The
    Markdown and LaTeX tables have the form of the published ones: best bold, second underlined; Markdown has the paired
    differences, too.

    Args:
        comparison: what `compare` returns.
        out: the folder, made if need be; files of these names in it are replaced.

    Raises:
        UserError: a file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from multifocal.comparison import compare
        >>> from multifocal.evaluation import Results
        >>> rows = [{"case": str(i), "stratum": "<1 %", "dice": 0.5 + i / 100} for i in range(8)]
        >>> with TemporaryDirectory() as folder:
        ...     write_comparison(compare({"a": Results(rows, [], {})}, samples=10), folder)
        ...     print((Path(folder) / "table.md").read_text().partition("\\n")[0])
        ## Means and ranks over all 8 cases
    """
    folder = Path(out)
    ranking, stability = ranking_table(comparison, with_ranks=True), stability_table(comparison)
    strata = strata_table(comparison, with_intervals=True)
    tables = [ranking, strata, *([pairs_table(comparison)] if comparison.overall.pairs else []), stability]
    tex = [ranking, strata_table(comparison, with_intervals=False), stability]
    rows = list(_rows(comparison))
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(folder / "table.csv", rows, columns=columns)
    write_text(folder / "table.md", "\n\n".join(map(markdown, tables)) + "\n")
    write_text(folder / "table.tex", "\n\n".join(["% needs: booktabs, graphicx", *map(latex, tex)]) + "\n")
    write_json(folder / "comparison.json", comparison.to_json())


def ranking_table(comparison: Comparison, *, with_ranks: bool) -> ResultTable:
    """Return one row a method: mean ranks, then each metric's mean and rank r (Rachmadi et al. 2024, table 1).

    Args:
        comparison: what `compare` returns.
        with_ranks: whether a column r stands beside each metric.

    Returns:
        The table.
    """
    group, words = comparison.overall, comparison.words
    columns: list[_Column] = [("method", [TableCell(name) for name in group.methods])]
    shown = []
    for over in comparison.settings["mean_ranks"]:
        found = [method.mean_ranks[over].rank for method in group.methods.values()]
        if found[0] is not None:
            shown.append(over)
            columns.append((f"{over} ↓", marked([number(rank, digits=2) for rank in found], found)))
    for metric in comparison.metrics:
        scores = _scores(group, metric)
        ranks = _ranks_of_means(scores)
        texts = _means(scores, digits=4, factor=_factor(metric, words))
        columns.append((heading(metric, words), marked(texts, ranks)))
        if with_ranks:
            places = [NOTHING if score.rank is None else f"{score.rank:g}" for score in scores]
            columns.append(("r", marked(places, ranks)))
    note = f"{_ranks_note(comparison, shown)} {_gaps_note(comparison)}".strip()
    return ResultTable(f"Means and ranks over all {group.cases} cases", *_transpose(columns), note=note)


def strata_table(comparison: Comparison, *, with_intervals: bool) -> ResultTable:
    """Return one row a stratum and method: each metric's mean, with its interval where wanted.

    Args:
        comparison: what `compare` returns.
        with_intervals: whether the interval stands beside each mean.

    Returns:
        The table.
    """
    rows: list[tuple[TableCell, ...]] = []
    words = comparison.words
    for stratum, group in comparison.groups.items():
        place = [[TableCell(stratum), TableCell(str(group.cases)), TableCell(name)] for name in group.methods]
        columns = []
        for metric in comparison.metrics:
            scores = _scores(group, metric)
            texts = _means(scores, digits=3, factor=_factor(metric, words), with_intervals=with_intervals)
            columns.append(marked(texts, _ranks_of_means(scores)))
        rows.extend((*start, *cells) for start, *cells in zip(place, *columns, strict=True))
    titles = (f"lesion / {words.whole}", "cases", "method", *(heading(name, words) for name in comparison.metrics))
    intervals = "In square brackets 95 % intervals (bootstrap over cases)." if with_intervals else ""
    note = f"{intervals} {_gaps_note(comparison)}".strip()
    return ResultTable(f"By the lesion's share of the {words.whole}", titles, tuple(rows), note=note, texts=3)


def pairs_table(comparison: Comparison) -> ResultTable:
    """Return one row a metric and pair of methods: the paired difference, its interval and its test.

    Args:
        comparison: what `compare` returns.

    Returns:
        The table.
    """
    group, words = comparison.overall, comparison.words
    titles = ("metric", "first", "second", "first - second", "95 % interval", "cases", "p", "p (Holm)")
    rows = tuple(
        tuple(
            TableCell(text)
            for text in (
                heading(metric, words),
                pair.first,
                pair.second,
                *_difference(pair.metrics[metric], factor=_factor(metric, words)),
            )
        )
        for metric in comparison.metrics
        for pair in group.pairs
    )
    note = (
        f"Over the cases with a value in both. {comparison.settings['test']}. "
        f"Holm's correction over these {group.tests} tests."
    )
    return ResultTable("Paired differences", titles, rows, note=note, texts=3)


def stability_table(comparison: Comparison) -> ResultTable:
    """Return one row a method: the share of bootstrap samples in which it is ranked first.

    Args:
        comparison: what `compare` returns.

    Returns:
        The table.
    """
    group = comparison.overall
    columns: list[_Column] = [("method", [TableCell(name) for name in group.methods])]
    firsts = {
        over: [method.mean_ranks[over].first for method in group.methods.values()]
        for over in comparison.settings["mean_ranks"]
    }
    firsts |= {
        comparison.words.name(METRICS[metric]): [score.first for score in _scores(group, metric)]
        for metric in comparison.metrics
    }
    for title, shares in firsts.items():
        found = [share for share in shares if share is not None]
        if found:
            columns.append((title, [TableCell(f"{100 * share:.1f} %") for share in found]))
    samples = comparison.settings["samples"]
    note = f"Share of {samples} bootstrap samples in which a method is first. Methods that tie share a sample evenly."
    return ResultTable("Stability of the ranking", *_transpose(columns), note=note)


def markdown(table: ResultTable) -> str:
    """Return the table with its title and note; best is bold, second underlined.

    Args:
        table: what to show.

    Returns:
        Markdown.

    Example:
        >>> table = ResultTable("T", ("method", "Dice"), ((TableCell("a_b"), TableCell("0.5", "best")),), note="")
        >>> print(markdown(table))
        ## T
        <BLANKLINE>
        | method | Dice |
        |---|--:|
        | a\\_b | **0.5** |
    """
    rule = "|" + "---|" * table.texts + "--:|" * (len(table.columns) - table.texts)
    wraps = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    rows = [[wraps[cell.mark].format(_plain(cell.text)) for cell in row] for row in table.rows]
    heads = [_plain(column) for column in table.columns]
    lines = [f"## {_plain(table.title)}", "", _line(heads), rule, *map(_line, rows)]
    return "\n".join([*lines, "", _plain(table.note)] if table.note else lines)


def latex(table: ResultTable) -> str:
    """Return a `table` for the packages booktabs and graphicx; best is bold, second underlined.

    Args:
        table: what to show.

    Returns:
        LaTeX.
    """
    wraps = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
    rows = [" & ".join(wraps[cell.mark] % _escape(cell.text, _LATEX) for cell in row) + r" \\" for row in table.rows]
    heads = " & ".join(_escape(column, _LATEX) for column in table.columns) + r" \\"
    columns = "l" * table.texts + "r" * (len(table.columns) - table.texts)
    caption = _escape(f"{table.title}. {table.note}".strip(), _LATEX)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            heads,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
        ]
    )


def on_screen(table: ResultTable) -> Table:
    """Return the table for `rich`; best is bold, second underlined. A wide table of few rows is turned on its side.

    Args:
        table: what to show.

    Returns:
        The table.
    """
    if len(table.rows) <= _FEW_ROWS and len(table.columns) > 2 * _FEW_ROWS:
        table = _turned(table)
    shown = Table(title=table.title, caption=table.note, title_justify="left", caption_justify="left")
    for place, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="left" if place < table.texts else "right")
    for row in table.rows:
        shown.add_row(*map(_styled, row))
    return shown


def marked(texts: Sequence[str], ranks: Sequence[float | None]) -> list[TableCell]:
    """Return cells of which those with the lowest rank are best and those with the next one second.

    Equal ranks are marked alike; when all are equal, nothing is marked.

    Args:
        texts: of the cells.
        ranks: of the cells, 1 is best; None is never marked.

    Returns:
        The cells, in the same order.

    Example:
        >>> [cell.mark for cell in marked(["a", "b", "c", "d"], [2.0, 1.0, None, 2.0])]
        ['second', 'best', '', 'second']
    """
    # Means of ranks that are equal may differ in the last digit.
    rounded = [None if rank is None else round(rank, 9) for rank in ranks]
    levels = sorted({rank for rank in rounded if rank is not None})
    names: dict[float, Mark] = dict(zip(levels, ("best", "second"), strict=False)) if len(levels) > 1 else {}
    return [
        TableCell(text, "" if rank is None else names.get(rank, "")) for text, rank in zip(texts, rounded, strict=True)
    ]


def heading(metric: str, words: Wording = VOLUMES) -> str:
    """Return a metric's heading with its unit and the direction in which it is better.

    Args:
        metric: its name.
        words: what sizes and lengths are called.

    Returns:
        The heading of a column.

    Example:
        >>> heading("masd"), heading("volume_difference")
        ('MASD (mm) ↓', '|volume difference| (ml) ↓')
    """
    found = METRICS[metric]
    return f"{words.heading(found)} {'↑' if found.best == 'highest' else '↓'}"


def number(value: float | None, *, digits: int) -> str:
    """Return a number as text.

    Args:
        value: the number, or None.
        digits: after the point.

    Returns:
        The text; a dash for None.
    """
    return NOTHING if value is None else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    """Return a p-value as text.

    Args:
        p: the value, or None.

    Returns:
        Three digits, `<0.001` below them, a dash for None.
    """
    return "<0.001" if p is not None and p < 0.001 else number(p, digits=3)


def _scores(group: Group, metric: str) -> list[Score]:
    return [method.metrics[metric] for method in group.methods.values()]


def _ranks_of_means(scores: Sequence[Score]) -> list[float | None]:
    return [score.rank if score.n else None for score in scores]


def _factor(metric: str, words: Wording) -> int:
    return words.factor(METRICS[metric].unit)


def _means(scores: Sequence[Score], *, digits: int, factor: int, with_intervals: bool = False) -> list[str]:
    texts = [number(None if score.mean is None else score.mean * factor, digits=digits) for score in scores]
    if with_intervals:
        texts = [text + _interval(score, factor=factor) for text, score in zip(texts, scores, strict=True)]
    if any(score.undefined for score in scores):
        texts = [f"{text} ({score.undefined})" for text, score in zip(texts, scores, strict=True)]
    return texts


def _interval(score: Score, *, factor: int) -> str:
    if score.low is None or score.high is None:
        return ""
    return f" [{score.low * factor:.3f}, {score.high * factor:.3f}]"


def _difference(found: Difference, *, factor: int) -> tuple[str, ...]:
    mean = NOTHING if found.mean is None else f"{found.mean * factor:+.3f}"
    interval = NOTHING
    if found.low is not None and found.high is not None:
        interval = f"[{found.low * factor:+.3f}, {found.high * factor:+.3f}]"
    return mean, interval, str(found.n), p_value(found.p), p_value(found.p_holm)


def _transpose(columns: Iterable[_Column]) -> tuple[tuple[str, ...], tuple[tuple[TableCell, ...], ...]]:
    titles, cells = zip(*columns, strict=True)
    return titles, tuple(zip(*cells, strict=True))


def _ranks_note(comparison: Comparison, shown: Iterable[str]) -> str:
    parts = []
    for name in shown:
        over = ", ".join(comparison.words.name(METRICS[metric]) for metric in comparison.settings["mean_ranks"][name])
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


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for name, group in comparison.groups.items():
        for method, found in group.methods.items():
            place = {"group": name, "cases": group.cases, "method": method}
            for metric, score in found.metrics.items():
                yield {**place, "metric": metric, **asdict(score)}
            for over, mean_rank in found.mean_ranks.items():
                yield {**place, "metric": over, **asdict(mean_rank)}


def _turned(table: ResultTable) -> ResultTable:
    first, *others = zip(table.columns, *table.rows, strict=True)
    columns = (str(first[0]), *(cell.text for cell in first[1:]))
    rows = tuple((TableCell(column), *cells) for column, *cells in others)
    return replace(table, columns=columns, rows=rows, texts=1)


def _styled(cell: TableCell) -> Text:
    return Text(cell.text, style={"best": "bold", "second": "underline", "": ""}[cell.mark])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return _escape(text, _MARKDOWN).replace("](", "]\\(")  # or it would be a link


def _escape(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in text)
