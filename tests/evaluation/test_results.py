"""The files of an evaluation: every digit, the rule beside the numbers, read back equal, and refused where damaged."""

import csv
import json
import math

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.evaluation import LESION_COLUMNS, Scores, case_columns, read_results, summarize, write_results
from multifocal.metrics import METRICS

ROWS = [
    {"case": name, **dict.fromkeys(METRICS, 1 / 3), "masd": masd, "stratum": "<1 %"}
    | {"share_of_brain": 0.001, "diagonal_mm": 250.0}
    for name, masd in (("a", 0.1 + 0.2), ("b", math.nan))
]


def test_cases_keep_every_digit(tmp_path):
    write_results(Scores(ROWS, []), tmp_path / "new" / "out")
    with (tmp_path / "new" / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == case_columns()
    assert case_columns()[:5] == ("case", "dice", "masd", "nsd", "volume_difference")
    assert [row["case"] for row in rows] == ["a", "b"]
    assert float(rows[0]["masd"]) == 0.1 + 0.2
    assert rows[1]["masd"] == "nan"
    assert {float(rows[1][name]) for name in METRICS if name != "masd"} == {1 / 3}


def test_summary_states_rule_settings_and_units(tmp_path):
    returned = write_results(Scores(ROWS, []), tmp_path, undefined="diagonal", settings={"tolerance_mm": 2.0})
    written = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert returned == summarize(ROWS, undefined="diagonal") | {"settings": {"tolerance_mm": 2.0}}
    assert {name: written[name] for name in returned} == returned
    assert written["overall"]["metrics"]["masd"]["undefined"] == 1
    assert written["settings"] == {"tolerance_mm": 2.0}
    assert written["metrics"]["masd"] == {"unit": "mm", "level": "case", "best": "lowest"}


def test_a_table_that_went_through_a_spreadsheet_is_read(tmp_path):
    write_results(Scores(ROWS, []), tmp_path)
    for name in ("cases.csv", "lesions.csv", "summary.json"):
        file = tmp_path / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [row["case"] for row in read_results(tmp_path).rows] == ["a", "b"]


def test_a_case_has_one_name_in_every_table(tmp_path):
    write_results(Scores([{**ROWS[0], "case": "Zoe\u0308"}], []), tmp_path)
    assert read_results(tmp_path).rows[0]["case"] == "Zo\u00eb"


def test_unusable_rows_write_nothing(tmp_path):
    with pytest.raises(ValueError, match="rows is empty"):
        write_results(Scores([], []), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder should be"):
        write_results(Scores(ROWS, []), tmp_path / "out")


ABOUT = {"stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 250.0}
ROWS_READ = [
    {"case": name, **dict.fromkeys(METRICS, value), **ABOUT} for name, value in (("a, b", 1 / 3), ("c", math.nan))
]
LESIONS = [
    dict(zip(LESION_COLUMNS, ("a, b", "lesion", *values), strict=True))
    for values in (
        ("true", 0.1, -1.5, 2.0, 3.25, 1, 0.7, "0.10-0.15"),
        ("false", 2.5, 0.1 + 0.2, 2.0, math.nan, 0, 0.0, ">=1"),
    )
]
SCORES = Scores(ROWS_READ, LESIONS, {"tolerance_mm": 2.0})


def test_what_was_written_is_read(tmp_path):
    summary = write_results(SCORES, tmp_path / "out", undefined="diagonal", settings={"fold": 1})
    found = read_results(tmp_path / "out")
    np.testing.assert_equal((found.rows, found.lesions), (ROWS_READ, LESIONS))
    assert found.summary == summary == json.loads(json.dumps(summary))
    assert found.summary["settings"] == {"tolerance_mm": 2.0, "fold": 1}
    assert found.summary["lesions"][">=1"] == {"true": 0, "found": 0, "rate": None, "dice": None, "false": 1}


def test_several_classes(tmp_path):
    rows = [{"case": row["case"], "label": label, **row} for row in ROWS_READ for label in ("core", "edema")]
    lesions = [{**LESIONS[0], "label": "core"}]
    summary = write_results(Scores(rows, lesions), tmp_path)
    assert (tmp_path / "cases.csv").read_text().startswith("case,label,dice,masd")
    found = read_results(tmp_path)
    np.testing.assert_equal(found.rows, rows)
    assert list(summary["labels"]) == ["core", "edema"]
    assert summary["labels"]["core"]["overall"]["cases"] == 2
    assert summary["labels"]["core"]["lesions"]["0.10-0.15"]["rate"] == 1.0
    assert summary["labels"]["edema"]["lesions"] == {}


def test_no_lesion_at_all(tmp_path):
    write_results(Scores(ROWS_READ, []), tmp_path)
    assert read_results(tmp_path).lesions == []
    assert (tmp_path / "lesions.csv").read_text().strip() == ",".join(LESION_COLUMNS)


def replace_in(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "cases.csv").unlink(), "no cases.csv; name a folder that"),
        (lambda folder: (folder / "lesions.csv").unlink(), "lesions.csv: no such file"),
        (lambda folder: (folder / "summary.json").unlink(), "summary.json: no such file"),
        (lambda folder: (folder / "summary.json").write_text("[]"), "summary.json: holds no summary"),
        (lambda folder: (folder / "summary.json").write_text("{"), "summary.json: not valid JSON"),
        (lambda folder: (folder / "cases.csv").write_bytes(b"\xff\xfe"), "cases.csv: not a CSV file"),
        (replace_in("cases.csv", "masd,", "mads,"), "cases.csv: no column masd; evaluate again"),
        (replace_in("cases.csv", "0.3333333333333333", "many"), "cases.csv: line 2: dice is 'many'"),
        (replace_in("cases.csv", "0.3333333333333333", "inf"), "cases.csv: line 2: dice is 'inf'"),
        (replace_in("cases.csv", "<1 %", "<1%"), "cases.csv: line 2: stratum is '<1%'"),
        (replace_in("cases.csv", "\nc,", '\n"a, b",'), "cases.csv: case a, b comes twice"),
        (replace_in("cases.csv", "250.0", "250.0,1"), "cases.csv: line 2: not as many cells as columns"),
        (replace_in("cases.csv", ",250.0", ""), "cases.csv: line 2: not as many cells as columns"),
        (replace_in("lesions.csv", "false", "fals"), "lesions.csv: line 3: kind is 'fals'"),
        (replace_in("lesions.csv", ",1,0.7", ",2,0.7"), "lesions.csv: line 2: matched is '2'"),
        (replace_in("lesions.csv", ">=1", "big"), "lesions.csv: line 3: bin is 'big'"),
        (replace_in("lesions.csv", "-1.5", "x"), "lesions.csv: line 2: x_mm is 'x'"),
    ],
)
def test_damage_is_named(tmp_path, change, message):
    write_results(SCORES, tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        read_results(tmp_path)


def test_cases_without_a_row(tmp_path):
    write_results(SCORES, tmp_path)
    text = (tmp_path / "cases.csv").read_text()
    (tmp_path / "cases.csv").write_text(text.splitlines()[0] + "\n")
    with pytest.raises(UserError, match="cases.csv: no case"):
        read_results(tmp_path)
