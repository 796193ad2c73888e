from xml.etree import ElementTree

import matplotlib
import pytest

from multifocal.reports.charts.canvas import STYLE, Canvas, Mark
from multifocal.reports.charts.palette import MARKS, PAPER, arm_colour, arm_dash

NASTY = "<script>alert('1')</script> $x_1$ & \"q\""


@pytest.fixture
def chart():
    with matplotlib.rc_context(STYLE):
        canvas = Canvas("one", NASTY)
        canvas.title(NASTY)
        canvas.points([1, 2], [3, 4], [Mark(NASTY, "cases/a.html"), Mark("b")], colour=arm_colour(3), size=4)
        canvas.axes.bar(1, 2, gid=canvas.mark(Mark("a bar")))
        return canvas.finish()


def test_text_stays_text(chart):
    root = ElementTree.fromstring(chart.file)
    assert root.get("aria-label") == NASTY
    assert NASTY in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "<script" not in chart.page


def test_what_is_pointed_at_speaks_and_leads_on(chart):
    root = ElementTree.fromstring(chart.file)
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sorted(titles) == sorted([NASTY, "b", "a bar"])
    links = list(root.iter("{http://www.w3.org/2000/svg}a"))
    assert [link.get("href") for link in links] == ["cases/a.html"]


def test_the_page_gives_the_colours_and_the_file_has_them(chart):
    assert "var(--arm-3)" in chart.page
    assert "var(--" not in chart.file
    assert PAPER["arm-3"] in chart.file
    assert not any(mark in chart.page + chart.file for mark in MARKS.values())


def test_nothing_leaks_into_the_page_around(chart):
    root = ElementTree.fromstring(chart.file)
    assert not list(root.iter("{http://www.w3.org/2000/svg}style"))
    assert not list(root.iter("{http://www.w3.org/2000/svg}metadata"))
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(chart.file.count(f"#{name}") for name in names)
    assert "font-family" not in chart.file.split(">", 1)[1]


def test_charts_of_other_names_share_no_id():
    def names(name):
        canvas = Canvas(name, name)
        canvas.axes.plot([1, 2], [3, 4])
        return {element.get("id") for element in ElementTree.fromstring(canvas.finish().file).iter()} - {None}

    assert names("one")
    assert not names("one") & names("two")
    assert names("one") == names("one")


def test_every_colour_is_a_mark_of_its_own_and_arms_beyond_begin_again():
    assert len(set(MARKS.values())) == len(PAPER)
    assert arm_colour(9) == arm_colour(1)
    assert arm_dash(9) != arm_dash(1)


@pytest.mark.parametrize("name", [name for name in PAPER if name.startswith("arm-")])
def test_arms_stand_out_from_white_paper(name):
    assert _contrast(PAPER[name], "#ffffff") >= 3


def _contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG 2."""
    values = []
    for colour in (one, other):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        values.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(values) / min(values)
