"""An evaluation read back: equal to what was written, and refused where it is damaged."""

import json
import math

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.metrics import LESION_COLUMNS, METRICS, Scores, read_results, write_results

ABOUT = {"stratum": "<1 %", "share_of_brain": 0.001, "diagonal_mm": 250.0}
ROWS = [{"case": name, **dict.fromkeys(METRICS, value), **ABOUT} for name, value in (("a, b", 1 / 3), ("c", math.nan))]
LESIONS = [
    dict(zip(LESION_COLUMNS, ("a, b", "lesion", *values), strict=True))
    for values in (
        ("true", 0.1, -1.5, 2.0, 3.25, 1, 0.7, "0.10-0.15"),
        ("false", 2.5, 0.1 + 0.2, 2.0, math.nan, 0, 0.0, ">=1"),
    )
]
SCORES = Scores(ROWS, LESIONS, {"tolerance_mm": 2.0})


def test_what_was_written_is_read(tmp_path):
    summary = write_results(SCORES, tmp_path / "out", undefined="diagonal", settings={"fold": 1})
    found = read_results(tmp_path / "out")
    np.testing.assert_equal((found.rows, found.lesions), (ROWS, LESIONS))
    assert found.summary == summary == json.loads(json.dumps(summary))
    assert found.summary["settings"] == {"tolerance_mm": 2.0, "fold": 1}
    assert found.summary["lesions"][">=1"] == {"true": 0, "found": 0, "rate": None, "dice": None, "false": 1}


def test_several_classes(tmp_path):
    rows = [{"case": row["case"], "label": label, **row} for row in ROWS for label in ("core", "edema")]
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
    write_results(Scores(ROWS, []), tmp_path)
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
