"""Means over cases that say what they leave out, and lesions by volume."""

import io
import json
import math

import pytest
from rich.console import Console

from multifocal.evaluation import VOLUME_BINS, summarize, summary_table, volume_bin
from multifocal.evaluation.summary import summarize_bins
from multifocal.metrics import METRICS

NAN = math.nan
ROWS = [
    {"case": "a", "stratum": "<1 %", "diagonal_mm": 100.0, "dice": 0.0, "masd": NAN, "volume_difference": -2.0},
    {"case": "b", "stratum": "<1 %", "diagonal_mm": 100.0, "dice": 0.4, "masd": 4.0, "volume_difference": 1.0},
    {"case": "c", "stratum": "<1 %", "diagonal_mm": 100.0, "dice": 0.8, "masd": 1.0, "volume_difference": 4.0},
    {"case": "d", "stratum": ">5 %", "diagonal_mm": 200.0, "dice": 0.0, "masd": NAN, "volume_difference": 0.0},
]


def test_skip_leaves_out_and_counts():
    found = summarize(ROWS)["overall"]["metrics"]
    assert found["masd"] == {
        "mean": 2.5,
        "median": 2.5,
        "std": pytest.approx(math.sqrt(4.5)),
        "cases": 4,
        "undefined": 2,
        "rule": "skip",
    }
    assert found["dice"]["mean"] == pytest.approx(0.3)
    assert (found["dice"]["cases"], found["dice"]["undefined"]) == (4, 0)


def test_diagonal_stands_for_what_is_undefined():
    summary = summarize(ROWS, undefined="diagonal")
    assert summary["undefined"] == "diagonal"
    found = summary["overall"]["metrics"]["masd"]
    assert found["mean"] == pytest.approx((100 + 4 + 1 + 200) / 4)
    assert (found["undefined"], found["rule"]) == (2, "diagonal")


def test_only_distances_have_a_stand_in():
    rows = [row | {"precision": NAN if row["dice"] == 0 else 1.0} for row in ROWS]
    found = summarize(rows, undefined="diagonal")["overall"]["metrics"]["precision"]
    assert (found["mean"], found["undefined"], found["rule"]) == (1.0, 2, "skip")


def test_a_missed_case_improves_the_mean_only_under_skip():
    missed = [row | {"masd": NAN} if row["case"] == "b" else row for row in ROWS]
    assert summarize(missed)["overall"]["metrics"]["masd"]["mean"] < 2.5
    before, after = (summarize(rows, undefined="diagonal")["overall"]["metrics"]["masd"] for rows in (ROWS, missed))
    assert after["mean"] > before["mean"]


def test_strata_are_kept_apart_and_all_there():
    strata = summarize(ROWS)["strata"]
    assert list(strata) == ["no lesion", "<1 %", "1-5 %", ">5 %"]
    assert [group["cases"] for group in strata.values()] == [0, 3, 0, 1]
    assert strata["<1 %"]["metrics"]["dice"]["mean"] == pytest.approx(0.4)
    nothing = {"mean": None, "median": None, "std": None}
    assert strata["1-5 %"]["metrics"]["dice"] == nothing | {"cases": 0, "undefined": 0, "rule": "skip"}
    assert strata[">5 %"]["metrics"]["masd"] == nothing | {"cases": 1, "undefined": 1, "rule": "skip"}
    assert strata[">5 %"]["metrics"]["dice"]["std"] is None


def test_signed_differences_have_an_absolute_mean():
    found = summarize(ROWS)["overall"]["metrics"]
    assert (found["volume_difference"]["mean"], found["volume_difference"]["mean_absolute"]) == (0.75, 1.75)
    assert "mean_absolute" not in found["dice"]


def test_summary_is_valid_json():
    text = json.dumps(summarize(ROWS), allow_nan=False)
    assert json.loads(text) == summarize(ROWS)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "rows is empty"),
        (ROWS, {"undefined": "diagonals"}, "did you mean 'diagonal'"),
        ([*ROWS, {"case": "e", "stratum": "<1 %", "dice": 1.0}], {}, "case e has no masd, volume_difference"),
        ([{"case": "e", "stratum": "<1 %", "masd": 1.0}], {"undefined": "diagonal"}, "case e has no diagonal_mm"),
        ([{"case": "e", "dice": 1.0}], {}, "case e has no stratum"),
        ([{"case": "e", "stratum": "<1%", "dice": 1.0}], {}, "case e.*'<1%'; did you mean '<1 %'"),
    ],
)
def test_bad_rows_are_named(rows, options, message):
    with pytest.raises(ValueError, match=message):
        summarize(rows, **options)


def test_catalogue_states_direction_and_unit():
    assert {name: metric.best for name, metric in METRICS.items() if metric.best} == {
        "dice": "highest",
        "masd": "lowest",
        "nsd": "highest",
        "volume_difference": "zero",
        "relative_volume_difference": "zero",
        "hd95": "lowest",
        "assd": "lowest",
        "sensitivity": "highest",
        "precision": "highest",
        "specificity": "highest",
        **dict.fromkeys(("missed", "false", "fdr", "fnr"), "lowest"),
        **dict.fromkeys(("ppv", "sen", "f1", "pq", "sq", "rq", "cc_dice"), "highest"),
    }
    assert all(metric.name == name for name, metric in METRICS.items())
    assert {metric.name for metric in METRICS.values() if metric.unit == "mm"} == {
        metric.name for metric in METRICS.values() if metric.is_distance
    }


def shown(table):
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("undefined", "mean", "rule"),
    [("skip", "2.500 (2)", "left out of the mean"), ("diagonal", "76.250 (2)", "counted as the diagonal")],
)
def test_table_shows_the_count_and_the_rule(undefined, mean, rule):
    text = shown(summary_table(summarize(ROWS, undefined=undefined), metrics=["dice", "masd", "volume_difference"]))
    rows = {cells[1].strip(): cells for line in text.splitlines() if len(cells := line.split("│")) > 2}
    assert [cell.strip() for cell in rows["all"][2:6]] == ["4", "0.300", mean, "1.750"]
    assert [cell.strip() for cell in rows["1-5 %"][2:6]] == ["0", "-", "- (0)", "-"]
    assert rule in " ".join(text.split())
    assert "exactly one of the masks is empty" in " ".join(text.split())


def test_table_names_units_and_absolute_values():
    headers = [column.header for column in summary_table(summarize(ROWS), metrics=METRICS.keys() & ROWS[0]).columns]
    assert {"Dice", "MASD (mm)", "|volume difference| (ml)"} <= set(headers)


def test_bins_cover_every_volume_once():
    assert len(VOLUME_BINS) == 21 and VOLUME_BINS[0] == "<0.05" and VOLUME_BINS[-2:] == ("0.95-1.00", ">=1")
    for number, name in enumerate(VOLUME_BINS):
        assert volume_bin((number + 0.5) * 0.05) == name
        assert volume_bin((50 * number or 1) * 0.001) == name  # as many voxels of 1 mm³: the border is the upper bin's
        assert volume_bin((number + 1) * 0.05 - 1e-6) == name


@pytest.mark.parametrize("volume", [0.0, -0.1, math.nan, math.inf])
def test_a_volume_that_is_none_is_refused(volume):
    with pytest.raises(ValueError, match=f"volume is {volume}"):
        volume_bin(volume)


def test_counts_and_rates():
    lesions = [
        {"kind": kind, "bin": name, "matched": matched, "dice": dice}
        for kind, name, matched, dice in (
            ("true", ">=1", 1, 0.5),
            ("true", "<0.05", 1, 0.8),
            ("true", "<0.05", 0, 0.0),
            ("false", "<0.05", 0, 0.0),
            ("false", "0.10-0.15", 0, 0.0),
        )
    ]
    assert summarize_bins(lesions) == {
        "<0.05": {"true": 2, "found": 1, "rate": 0.5, "dice": 0.4, "false": 1},
        "0.10-0.15": {"true": 0, "found": 0, "rate": None, "dice": None, "false": 1},
        ">=1": {"true": 1, "found": 1, "rate": 1.0, "dice": 0.5, "false": 0},
    }
    assert list(summarize_bins(lesions)) == ["<0.05", "0.10-0.15", ">=1"]
