import math
import re
from pathlib import Path

import matplotlib
import pytest

from multifocal.evaluation import Results
from multifocal.reports.charts.canvas import STYLE
from multifocal.reports.charts.case_charts import against_volume, boxes
from multifocal.reports.charts.curves import line, loss_curves, mean, validation_curves
from multifocal.reports.charts.forest import differences, forest
from multifocal.reports.charts.sizes import Detection, by_bin, size_bars, small_bars
from multifocal.reports.study_data import Arm, CellRecord


@pytest.fixture(autouse=True)
def style():
    with matplotlib.rc_context(STYLE):
        yield


def arm(name="a", *, rows=(), lesions=(), number=0) -> Arm:
    return Arm(number, name, Path("masks"), Results(list(rows), list(lesions), {}))


def row(case, dice, *, stratum="<1 %", true_ml=1.0):
    return {"case": case, "stratum": stratum, "dice": dice, "true_ml": true_ml}


def lesion(kind, bin_, matched=0, dice=0.0):
    return {"case": "c", "kind": kind, "bin": bin_, "matched": matched, "dice": dice, "volume_ml": 0.01}


def titles(chart) -> list[str]:
    return re.findall(r"<title>([^<]*)</title>", chart.page)


def test_boxes_show_the_cases_of_a_stratum_that_have_a_value():
    cases = [row("one", 0.5), row("two", math.nan), row("three", 0.7, stratum=">5 %")]
    chart = boxes([arm(rows=cases)], "dice", group="<1 %", pages={"one": "cases/one.html"})
    assert titles(chart) == ["one: a, Dice 0.500"]
    assert 'href="cases/one.html"' in chart.page
    assert len(titles(boxes([arm(rows=cases)], "dice", group="all", pages={}))) == 2
    assert boxes([arm(rows=cases)], "dice", group="1-5 %", pages={}) is None


def pair(first, second, **numbers):
    found = {"mean": 0.2, "low": 0.1, "high": 0.4, "p_holm": 0.01, "n": 8, **numbers}
    return {"first": first, "second": second, "metrics": {"dice": found}}


def test_differences_are_turned_towards_the_arm_they_are_from():
    group = {"pairs": [pair("a", "b"), pair("b", "c"), pair("a", "c")]}
    from_b = {found.arm: found for found in differences(group, "dice", to="b")}
    assert set(from_b) == {"a", "c"}
    assert (from_b["a"].mean, from_b["a"].low, from_b["a"].high) == (0.2, 0.1, 0.4)
    assert (from_b["c"].mean, from_b["c"].low, from_b["c"].high) == (-0.2, -0.4, -0.1)


def test_a_forest_leaves_out_what_is_not_there():
    arms = [arm("a"), arm("b", number=1), arm("c", number=2)]
    group = {"pairs": [pair("a", "b"), pair("b", "c", mean=None, low=None, high=None, n=0)]}
    chart = forest(arms, group, "dice", to="b")
    assert titles(chart) == ["a minus b: +0.200 (+0.100 to +0.400), 8 cases, p after Holm 0.010"]
    assert forest(arms, {"pairs": []}, "dice", to="b") is None
    assert forest(arms, group, "masd", to="b") is None
    only_none = {"pairs": [pair("a", "b", mean=None, low=None, high=None, n=0)]}
    assert forest(arms, only_none, "dice", to="b") is None


def test_lesions_are_counted_by_size():
    lesions = [
        lesion("true", "<0.05", 1, 0.5),
        lesion("true", "<0.05"),
        lesion("false", "<0.05"),
        lesion("true", ">=1", 1, 0.9),
    ]
    bins = by_bin([arm("a", lesions=lesions), arm("b")])
    assert list(bins) == ["<0.05", ">=1"]
    small = bins["<0.05"]["a"]
    assert (small.true, small.found, small.missed, small.false) == (2, 1, 1, 1)
    assert (small.sensitivity, small.precision, small.f1, small.dice) == (0.5, 0.5, 0.5, 0.25)
    assert bins["<0.05"]["b"] == Detection()
    assert all(math.isnan(getattr(Detection(), name)) for name in ("sensitivity", "precision", "f1", "dice"))


def test_bars_of_no_lesion_are_left_out():
    lesions = [lesion("true", "<0.05", 1, 0.5), lesion("false", "0.05-0.10")]
    arms = [arm("a", lesions=lesions)]
    chart = size_bars(arms, by_bin(arms), "sensitivity")
    assert titles(chart) == ["&lt;0.05 ml, a: sensitivity 1.000; 1 true, 1 found, 0 false"]
    assert len(titles(size_bars(arms, by_bin(arms), "precision"))) == 2
    assert "0.05–0.10" in chart.page
    assert "1 found, 0 missed, 0 false" in small_bars(arms).page
    assert small_bars([arm("a", lesions=[lesion("true", ">=1", 1, 0.9)])]) is None


def cell(name, fold, *rows) -> CellRecord:
    return CellRecord(name, fold, 0, None, tuple(rows))


def test_curves_are_means_over_the_cells_that_got_there():
    cells = [
        cell(
            "a",
            0,
            {"epoch": 0.0, "val/dice": 0.2},
            {"epoch": 1.0, "val/dice": math.nan},
            {"epoch": 2.0, "val/dice": 0.6},
        ),
        cell("a", 1, {"epoch": 0.0, "val/dice": 0.4}),
    ]
    assert line(cells[0], "val/dice") == {0: 0.2, 2: 0.6}
    assert mean(line(one, "val/dice") for one in cells) == pytest.approx({0: 0.3, 2: 0.6})
    assert titles(validation_curves([arm("a")], cells)) == ["a: 0.600 after epoch 2, best 0.600"]
    assert validation_curves([arm("a")], [cell("a", 0)]) is None


def test_a_loss_is_shown_with_its_terms_and_alone_where_it_has_but_one():
    terms = [{"epoch": float(e), "train/loss": 2.0, "train/x": 1.5, "train/y": 0.5} for e in range(3)]
    assert len(titles(loss_curves(arm("a"), [cell("a", 0, *terms), cell("a", 1, *terms)]))) == 3
    single = [{"epoch": 0.0, "train/loss": 2.0, "train/x": 2.0}]
    assert titles(loss_curves(arm("a"), [cell("a", 0, *single)])) == ["a, x: 2.000 after epoch 0"]
    assert loss_curves(arm("b"), [cell("a", 0, *terms)]) is None


def test_cases_without_a_lesion_have_no_place_on_a_scale_of_volumes():
    rows = [row("one", 0.5, true_ml=2.0), row("none", 1.0, true_ml=0.0)]
    assert titles(against_volume(arm(rows=rows), [arm(rows=rows)], pages={})) == ["one: 2.00 ml, Dice 0.500"]
    assert against_volume(arm(rows=rows[1:]), [], pages={}) is None


@pytest.mark.parametrize("volumes", [(0.02, 30.0), (1.0, 12.0), (2.0, 7.0), (3.0, 3.1), (0.5,)])
def test_volumes_are_labelled_in_plain_numbers(volumes):
    rows = [row(f"case {place}", 0.5, true_ml=volume) for place, volume in enumerate(volumes)]
    chart = against_volume(arm(rows=rows), [], pages={})
    found = re.findall(r"<text[^>]*>([^<]*)</text>", chart.page)
    assert "mathdefault" not in chart.page and not any("$" in text for text in found)
    labels = [float(text) for text in found[: found.index("true volume (ml)")]]
    assert labels and len(set(labels)) == len(labels)


def test_one_epoch_is_a_point():
    rows = [{"epoch": 0.0, "train/loss": 2.0, "train/x": 1.0, "train/y": 1.0, "val/dice": 0.5}] * 2
    once = [cell("a", fold, row) for fold, row in enumerate(rows)]
    for chart, points in ((loss_curves(arm("a"), once), 3 * 3), (validation_curves([arm("a")], once), 1)):
        markers = [use for use in re.findall("<use [^>]*>", chart.page) if "stroke-width: 0.8" not in use]  # no ticks
        assert len(markers) == points
