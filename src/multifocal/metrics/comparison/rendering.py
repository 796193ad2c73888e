"""Tables as Markdown, LaTeX, and on the screen."""

from dataclasses import replace

from rich.table import Table
from rich.text import Text

from multifocal.metrics.comparison.cells import Cell, Sheet

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


def markdown(sheet: Sheet) -> str:
    """Return the table with its title and note; best is bold, second underlined.

    Example:
        >>> sheet = Sheet("T", ("method", "Dice"), ((Cell("a_b"), Cell("0.5", "best")),), note="")
        >>> print(markdown(sheet))
        ## T
        <BLANKLINE>
        | method | Dice |
        |---|--:|
        | a\\_b | **0.5** |
    """
    rule = "|" + "---|" * sheet.texts + "--:|" * (len(sheet.columns) - sheet.texts)
    wraps = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    rows = [[wraps[cell.mark].format(_plain(cell.text)) for cell in row] for row in sheet.rows]
    heads = [_plain(column) for column in sheet.columns]
    lines = [f"## {_plain(sheet.title)}", "", _line(heads), rule, *map(_line, rows)]
    return "\n".join([*lines, "", _plain(sheet.note)] if sheet.note else lines)


def latex(sheet: Sheet) -> str:
    """Return a `table` for the packages booktabs and graphicx; best is bold, second underlined."""
    wraps = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}
    rows = [" & ".join(wraps[cell.mark] % _escape(cell.text, _LATEX) for cell in row) + r" \\" for row in sheet.rows]
    heads = " & ".join(_escape(column, _LATEX) for column in sheet.columns) + r" \\"
    columns = "l" * sheet.texts + "r" * (len(sheet.columns) - sheet.texts)
    caption = _escape(f"{sheet.title}. {sheet.note}".strip(), _LATEX)
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


def on_screen(sheet: Sheet) -> Table:
    """Return the table for `rich`; best is bold, second underlined. A wide table of few rows is turned on its side."""
    if len(sheet.rows) <= _FEW_ROWS and len(sheet.columns) > 2 * _FEW_ROWS:
        sheet = _turned(sheet)
    table = Table(title=sheet.title, caption=sheet.note, title_justify="left", caption_justify="left")
    for place, column in enumerate(sheet.columns):
        table.add_column(Text(column), justify="left" if place < sheet.texts else "right")
    for row in sheet.rows:
        table.add_row(*map(_styled, row))
    return table


def _turned(sheet: Sheet) -> Sheet:
    first, *others = zip(sheet.columns, *sheet.rows, strict=True)
    columns = (str(first[0]), *(cell.text for cell in first[1:]))
    rows = tuple((Cell(column), *cells) for column, *cells in others)
    return replace(sheet, columns=columns, rows=rows, texts=1)


def _styled(cell: Cell) -> Text:
    return Text(cell.text, style={"best": "bold", "second": "underline", "": ""}[cell.mark])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return _escape(text, _MARKDOWN).replace("](", "]\\(")  # or it would be a link


def _escape(text: str, replacements: dict[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in text)
