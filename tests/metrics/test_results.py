"""The files of an evaluation: every case, every digit, and the rule beside the numbers."""

import csv
import json
import math

import pytest

from multifocal.errors import UserError
from multifocal.metrics import COLUMNS, METRICS, Scores, summarize, write_results

ROWS = [
    {"case": name, **dict.fromkeys(METRICS, 1 / 3), "masd": masd, "stratum": "<1 %"}
    | {"share_of_brain": 0.001, "diagonal_mm": 250.0}
    for name, masd in (("a", 0.1 + 0.2), ("b", math.nan))
]


def test_cases_keep_every_digit(tmp_path):
    write_results(Scores(ROWS, []), tmp_path / "new" / "out")
    with (tmp_path / "new" / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert COLUMNS[:5] == ("case", "dice", "masd", "nsd", "volume_difference")
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


def test_unusable_rows_write_nothing(tmp_path):
    with pytest.raises(ValueError, match="rows is empty"):
        write_results(Scores([], []), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder should be"):
        write_results(Scores(ROWS, []), tmp_path / "out")
