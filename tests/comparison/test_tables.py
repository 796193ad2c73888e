"""Tables in the form of the published ones, and the files."""

import csv
import io
import json

import pytest
from rich.console import Console

from multifocal.comparison import compare, write_comparison
from multifocal.comparison.tables import (
    ResultTable,
    TableCell,
    heading,
    latex,
    markdown,
    marked,
    number,
    on_screen,
    p_value,
    pairs_table,
    ranking_table,
    stability_table,
    strata_table,
)
from multifocal.errors import UserError


@pytest.fixture
def comparison(methods):
    return compare(methods, samples=50)


@pytest.mark.parametrize(
    ("ranks", "marks"),
    [
        ([2, 1, 3], ["second", "best", ""]),
        ([1.5, 1.5, 3], ["best", "best", "second"]),
        ([1, 2.5, 2.5, 4], ["best", "second", "second", ""]),
        ([1 / 3 + 1 / 3 + 2 / 3, 4 / 3, 2], ["best", "best", "second"]),
        ([None, 1, 2], ["", "best", "second"]),
        ([2, 2, 2], ["", "", ""]),
        ([1], [""]),
        ([None, None], ["", ""]),
    ],
)
def test_best_and_second_are_marked_and_ties_alike(ranks, marks):
    assert [cell.mark for cell in marked([""] * len(ranks), ranks)] == marks


def test_texts_of_cells():
    assert number(None, digits=3) == "–" and number(0.12345, digits=3) == "0.123"
    assert [p_value(p) for p in (None, 0.0004, 0.0016, 1.0)] == ["–", "<0.001", "0.002", "1.000"]
    assert heading("dice") == "Dice ↑"


def texts(table):
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_the_ranking_has_the_means_and_ranks_of_the_comparison(comparison):
    table = ranking_table(comparison, with_ranks=True)
    assert table.columns[:4] == ("method", "RA ↓", "RG ↓", "challenge ↓")
    assert table.columns.count("r") == 4 == len(comparison.metrics)
    for row, (name, method) in zip(texts(table), comparison.overall.methods.items(), strict=True):
        assert row["method"] == name
        assert row["RA ↓"] == f"{method.mean_ranks['RA'].rank:.2f}"
        assert row["Dice ↑"] == f"{method.metrics['dice'].mean:.4f}"
        assert row["MASD (mm) ↓"] == f"{method.metrics['masd'].mean:.4f} ({method.metrics['masd'].undefined})"
    for place, column in enumerate(table.columns):
        if column == "Dice ↑":
            best = next(row for row in table.rows if row[place].mark == "best")
            assert best[0].text == max(
                comparison.overall.methods, key=lambda name: comparison.overall.methods[name].metrics["dice"].mean
            )
            assert best[place + 1] == TableCell("1", "best")
    assert "r" not in ranking_table(comparison, with_ranks=False).columns
    assert "left out of the mean" in table.note


def test_strata_have_intervals_where_wanted_and_all_cases_last(comparison):
    rows = texts(strata_table(comparison, with_intervals=True))
    assert len(rows) == 4 * 3
    assert [row["lesion / brain"] for row in rows[::3]] == ["<1 %", "1-5 %", ">5 %", "all"]
    score = comparison.overall.methods["plain"].metrics["dice"]
    assert rows[9]["Dice ↑"] == f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]"
    assert texts(strata_table(comparison, with_intervals=False))[9]["Dice ↑"] == f"{score.mean:.3f}"


def test_undefined_means_are_a_dash_and_unmarked(evaluate):
    values = {"a": [float("nan")] * 2, "b": [1.0, 2.0]}
    found = compare({name: evaluate({"masd": numbers}) for name, numbers in values.items()}, samples=9)
    (first, _) = ranking_table(found, with_ranks=True).rows
    assert first[2:] == (TableCell("– (2)"), TableCell("2"))


def test_pairs_have_every_pair_and_metric(comparison):
    rows = texts(pairs_table(comparison))
    assert len(rows) == 3 * 4
    found = comparison.overall.pairs[0].metrics["dice"]
    assert rows[0]["first - second"] == f"{found.mean:+.3f}"
    assert (rows[0]["cases"], rows[0]["p"]) == ("20", p_value(found.p))
    assert "these 12 tests" in pairs_table(comparison).note


def test_stability_in_percent(comparison):
    rows = texts(stability_table(comparison))
    assert sum(float(row["Dice"].removesuffix(" %")) for row in rows) == pytest.approx(100, abs=0.2)
    assert "RI" not in rows[0]


NASTY = ResultTable(
    "A & B",
    ("method", "|x| ↑"),
    ((TableCell("a_b|c<d>*&%${}\\^~#"), TableCell("0.5", "best")), (TableCell("b"), TableCell("0.4", "second"))),
    note="100 %",
)


def test_markdown_escapes_and_marks():
    lines = markdown(NASTY).splitlines()
    assert lines[0] == "## A & B"
    assert lines[2] == r"| method | \|x\| ↑ |"
    assert lines[4] == r"| a\_b\|c\<d>\*&%${}\\^\~# | **0.5** |"
    assert lines[5] == "| b | <u>0.4</u> |"
    assert lines[-1] == "100 %"


def test_a_name_makes_no_link_and_an_interval_needs_no_escape():
    table = ResultTable("T", ("m", "x"), ((TableCell("[a](b)"), TableCell("0.5 [0.4, 0.6] (3)")),), note="")
    assert markdown(table).splitlines()[-1] == r"| [a]\(b) | 0.5 [0.4, 0.6] (3) |"


def test_latex_escapes_and_marks():
    text = latex(NASTY)
    assert r"\caption{A \& B. 100 \%}" in text
    assert r"method & \textbar{}x\textbar{} $\uparrow$ \\" in text
    name = (
        r"a\_b\textbar{}c\textless{}d\textgreater{}{*}\&\%\$\{\}\textbackslash{}\textasciicircum{}\textasciitilde{}\#"
    )
    assert name + r" & \textbf{0.5} \\" in text
    assert r"b & \underline{0.4} \\" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_the_screen_shows_names_as_they_are():
    console = Console(file=io.StringIO(), width=100)
    cells = (TableCell("[red]a"), TableCell("1", "best"))
    console.print(on_screen(ResultTable("T", ("[bold]m[/bold]", "x"), (cells,), note="")))
    assert "[bold]m[/bold]" in console.file.getvalue() and "[red]a" in console.file.getvalue()


def test_a_wide_table_of_few_rows_is_turned_on_the_screen():
    cells = [[TableCell(f"m{row}"), *(TableCell(f"{row}.{column}") for column in range(1, 14))] for row in range(7)]
    names = ("method", *(f"x{column}" for column in range(1, 14)))
    turned, upright = (on_screen(ResultTable("T", names, tuple(map(tuple, cells[:rows])), note="")) for rows in (2, 7))
    assert (turned.row_count, [str(column.header) for column in turned.columns]) == (13, ["method", "m0", "m1"])
    assert [str(column._cells[4]) for column in turned.columns] == ["x5", "0.5", "1.5"]
    assert (upright.row_count, len(upright.columns)) == (7, 14)


def test_the_files(comparison, tmp_path):
    write_comparison(comparison, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.json",
        "table.csv",
        "table.md",
        "table.tex",
    ]
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert found == json.loads(json.dumps(comparison.to_json()))
    assert found["overall"]["methods"]["plain"]["metrics"]["dice"]["n"] == 20
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert len(rows) == 4 * 3 * (4 + 4)
    dice = next(row for row in rows if (row["group"], row["method"], row["metric"]) == ("all", "plain", "dice"))
    assert float(dice["mean"]) == comparison.overall.methods["plain"].metrics["dice"].mean
    tex = (tmp_path / "out" / "table.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 3
    assert (tmp_path / "out" / "table.md").read_text().count("\n## ") == 3


def test_one_method_alone_has_no_table_of_pairs(methods, tmp_path):
    write_comparison(compare({"plain": methods["plain"]}, samples=5), tmp_path)
    assert "Paired" not in (tmp_path / "table.md").read_text()


def test_a_folder_that_cannot_be_written(comparison, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_comparison(comparison, tmp_path / "file")
