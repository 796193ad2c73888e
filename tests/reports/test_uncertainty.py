"""How sure: the section of a study's report, its charts and its numbers."""

import json
import re
import shutil

import matplotlib
import pytest
from markupsafe import escape

from multifocal.evaluation import read_uncertainty
from multifocal.files import write_json
from multifocal.reports import write_report
from multifocal.reports.charts.canvas import STYLE
from multifocal.reports.charts.uncertainty import (
    CASE_SCORES,
    LESION_SCORES,
    reliability_chart,
    retention_chart,
    risk_coverage_chart,
)
from multifocal.reports.formatting import number, span
from multifocal.reports.study_data import Arm


def text(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def shown(found, digits=3):
    signed = found["low"] < 0
    return f"{number(found['value'], digits=digits)} {span(found['low'], found['high'], digits=digits, sign=signed)}"


def test_the_page_says_what_the_file_does(judged):
    page = write_report(judged)
    said = text(page)
    a, b = (read_uncertainty(judged / "arms" / arm) for arm in "ab")
    section = page.read_text(encoding="utf-8").partition('<section id="unsure">')[2].partition("</section>")[0]
    assert '<a href="#unsure">How sure</a>' in page.read_text(encoding="utf-8")
    for of in (a, b):
        for measure in ("aurc", "augrc"):
            assert all(shown(found[measure]) in said for found in of["case"].values())
        assert all(shown(found["ppv_area"]) in said for found in of["lesion"].values())
    for when in ("before", "after"):
        assert all(shown(a["voxel"][when][name], 4) in said for name in ("ece", "brier"))
    assert "voxel" not in b and "too few cases" in said  # six cases bound nothing at 0.05
    assert shown(a["missed"][0]["missed"]) in said
    drawn = {file.stem for file in (page.parent / "figures").iterdir()}
    assert {f"{name}-{arm}" for name in ("risk-coverage", "retention") for arm in "01"} | {"reliability-0"} <= drawn
    assert "reliability-1" not in drawn and section.count('href="figures/reliability-0.svg"') == 1
    assert str(escape("95 % of 20 bootstrap samples")) in said


def test_what_is_ahead_of_chance_stands_out(judged):
    file = judged / "arms" / "a" / "uncertainty.json"
    found = json.loads(file.read_text())
    for name, of in found["case"].items():
        of["gain"] = {"value": 0.1, "low": 0.01 if name in ("agreement", "truth") else -0.01, "high": 0.2}
    for of in found["lesion"].values():
        of["gain"] = {"value": 0.0, "low": -0.1, "high": 0.1}
    write_json(file, found)
    shutil.rmtree(judged / "arms" / "b")
    section = write_report(judged).read_text(encoding="utf-8").partition('<section id="unsure">')[2]
    assert section.partition("</section>")[0].count('class="number best"') == 1


def test_a_study_that_did_not_ask_has_no_such_section(small_study):
    page = write_report(small_study).read_text(encoding="utf-8")
    assert "How sure" not in page and "unsure" not in page


@pytest.fixture
def arm(judged):
    found = json.loads((judged / "arms" / "a" / "uncertainty.json").read_text())
    with matplotlib.rc_context(STYLE):
        yield Arm(0, "<b>a</b>", judged, None, uncertainty=found)


def titles(chart):
    return re.findall(r"<title>([^<]*)</title>", chart.page)


def test_each_line_says_its_area(arm):
    for draw, scores, key, of in (
        (risk_coverage_chart, CASE_SCORES, "aurc", "case"),
        (retention_chart, LESION_SCORES, "ppv_area", "lesion"),
    ):
        said = titles(draw(arm))
        assert len(said) == len(scores) == len(arm.uncertainty[of])
        for line, (name, score) in zip(said, scores.items(), strict=True):
            assert line.endswith(f"by {score.heading}")
            assert number(arm.uncertainty[of][name][key]["value"]) in line


def test_the_diagram_has_a_point_for_each_bin_that_holds_voxels(arm):
    voxels = arm.uncertainty["voxel"]
    many = [count for when in ("before", "after") for count in voxels[when]["diagram"]["voxels"]]
    said = titles(reliability_chart(arm))
    assert len(said) == sum(1 for count in many if count)
    assert all(f"{count:,} voxels" in " ".join(said) for count in many if count)
    voxels["after"] = None
    assert len(titles(reliability_chart(arm))) == sum(1 for count in voxels["before"]["diagram"]["voxels"] if count)


def test_what_was_not_judged_is_not_drawn(arm):
    for lacking in (None, {"case": {}, "lesion": {}, "missed": []}):
        bare = Arm(0, "a", arm.masks, None, uncertainty=lacking)
        assert [draw(bare) for draw in (risk_coverage_chart, retention_chart, reliability_chart)] == [None] * 3


def test_names_are_text(arm):
    for draw in (risk_coverage_chart, retention_chart, reliability_chart):
        chart = draw(arm)
        assert "<b>" not in chart.page and "&lt;b&gt;a&lt;/b&gt;" in chart.page
