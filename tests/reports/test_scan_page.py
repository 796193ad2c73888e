"""The page of one new scan."""

import re
from dataclasses import replace

import pytest

from multifocal.cohorts import open_cohort
from multifocal.reports.scan_page import SHOWN, sizes, write_scan_page
from multifocal.systems import find, load_model, predict_cohort
from multifocal.systems.flags import Flag
from multifocal.volumes import read

FLAG = Flag("a <i>remark</i>", "size", 9.0, 1.0, 6.5, "mm", "32 training cases", raised=True)


@pytest.fixture(scope="module")
def written(small_cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    cohort = open_cohort(small_cohort)
    model, kept = load_model("zadc-threshold"), []
    predict_cohort(model, cohort, folder, record=lambda *each: kept.append(each))
    case, prediction, mask = max(kept, key=lambda each: each[1].mask.array.sum())
    case = replace(case, name="<b>S1")
    found = find(case, prediction)
    page = folder / "page.html"
    write_scan_page(page, case, mask, found, model="zadc-threshold", digest="ab12", flags=[FLAG])
    return page.read_text(), found


def test_it_needs_no_other_file(written):
    page, _ = written
    markup = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    sources = re.findall(r'(?:src|href)="([^"]+)"', markup)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert '<link rel="stylesheet"' not in page


def test_text_is_escaped(written):
    page, _ = written
    assert "<b>S1" not in page
    assert "&lt;b&gt;S1" in page
    assert "a &lt;i&gt;remark&lt;/i&gt;" in page


def test_it_says_what_was_found(written):
    page, found = written
    assert f"{found.volume_ml:.2f} ml" in page
    assert page.count('<th scope="row">') == min(len(found.lesions), SHOWN) + 5
    assert "Research only." in page
    assert "ab12" in page


def test_every_lesion_has_one_size(written):
    _, found = written
    counted = sizes(found.lesions)
    assert sum(size.lesions for size in counted) == len(found.lesions)
    assert sum(size.volume_ml for size in counted) == pytest.approx(found.volume_ml)
    at_a_limit = replace(found.lesions[0], volume_ml=0.05)
    assert [size.lesions for size in sizes([at_a_limit])] == [0, 1, 0, 0, 0]


def test_nothing_found(small_cohort, tmp_path):
    case = open_cohort(small_cohort).cases[0]
    model, kept = load_model("zadc-threshold", overrides=("below=-100",)), []
    (mask,) = predict_cohort(
        model, open_cohort(small_cohort).subset([case.name]), tmp_path, record=lambda *each: kept.append(each)
    )
    assert not read(mask).array.any()
    write_scan_page(tmp_path / "page.html", case, mask, find(*kept[0][:2]), model="m", digest="0")
    assert "No lesion was marked." in (tmp_path / "page.html").read_text()
