"""matplotlib as a pen: figures without state, out as SVG that takes its colours and its type from the page."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from multifocal.reports.charts.palette import INK, MARKS, PAPER, RULE, SOFT

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ROOT = {"font-family": "Source Sans 3, Helvetica, Arial, sans-serif", "stroke-linejoin": "round"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # an arm may be called $x$
    "axes.unicode_minus": True,
    "font.size": 12.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 12.0,
    "ytick.labelsize": 12.0,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Mark:
    """What a drawn thing says when pointed at, and where it leads."""

    text: str
    href: str | None = None


@dataclass(frozen=True)
class Chart:
    """A finished chart: `page` for a page with its style sheet, `file` to stand alone."""

    name: str
    page: Markup
    file: str
    width: int


@dataclass
class Canvas:
    """A figure with one pair of axes, and what its marks say.

    Args:
        name: unique in the report.
        label: what the chart shows, for those who do not see it.
        width: inches, 72 units each.
        height: inches.
    """

    name: str
    label: str
    width: float = 5.0
    height: float = 3.0
    marks: dict[str, list[Mark]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with matplotlib.rc_context(STYLE):
            self.figure = Figure(figsize=(self.width, self.height), layout="constrained")
            self.axes: Axes = self.figure.add_subplot()

    def title(self, text: str) -> None:
        """Write a heading, flush with the chart's left edge."""
        self.figure.suptitle(text, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)

    def mark(self, *says: Mark) -> str:
        """Return the id (`gid=`) for something drawn that speaks when pointed at: as a whole, or point by point."""
        gid = f"{self.name}-{len(self.marks)}"
        self.marks[gid] = list(says)
        return gid

    def points(self, x: ArrayLike, y: ArrayLike, says: Sequence[Mark], *, colour: str, size: float) -> None:
        """Draw points, `size` wide, that speak."""
        self.axes.scatter(x, y, s=size**2, color=colour, linewidths=0, gid=self.mark(*says), zorder=3)

    def finish(self) -> Chart:
        """Return the chart as SVG."""
        stream = BytesIO()
        salt = hashlib.sha256(self.name.encode()).hexdigest()
        # What is drawn takes its style when it is drawn, text when it is written.
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
            if engine := self.figure.get_layout_engine():
                engine.execute(self.figure)
                self.figure.set_layout_engine("none")  # or all is drawn twice
            self.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        root = _cleaned(stream.getvalue(), label=self.label, marks=self.marks)
        text = ElementTree.tostring(root, encoding="unicode")
        page = re.sub("|".join(MARKS.values()), lambda found: f"var(--{_NAMES[found[0]]})", text)
        alone = re.sub("|".join(MARKS.values()), lambda found: PAPER[_NAMES[found[0]]], text)
        return Chart(self.name, Markup(page), alone, round(self.width * 72))


_NAMES = {value: name for name, value in MARKS.items()}


def _cleaned(svg: bytes, *, label: str, marks: Mapping[str, Sequence[Mark]]) -> ElementTree.Element:
    """Drop what a page has no use for (styles that would leak into it, names), and give every mark its words."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    root = ElementTree.fromstring(svg)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.attrib.update({"class": "chart", "role": "img", "aria-label": label, **ROOT})
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg.decode()))
    for parent in list(root.iter()):
        for index, child in reversed(list(enumerate(parent))):
            if child.tag == f"{{{SVG}}}metadata" or child.find(f"{{{SVG}}}style") is not None:
                parent.remove(child)
                continue
            name = child.get("id", "")
            says = marks.get(name, ())
            if len(says) == 1:
                parent[index] = _marked(child, says[0])
            elif says:
                _mark_points(child, says)
            if name not in used:
                child.attrib.pop("id", None)
            _shorten(child)
    return root


def _shorten(element: ElementTree.Element) -> None:
    """Leave fonts to the page, and hundredths of a pixel as they are."""
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    for name in ("d", "x", "y", "transform", "points"):
        if name in element.attrib:
            short = re.sub(r"(\.\d\d)\d+", r"\1", element.attrib[name])
            element.set(name, re.sub(r"\s+", " ", short).strip())
    if "style" in element.attrib:
        element.set("style", re.sub(r"font-family:[^;]*;? ?", "", element.attrib["style"]))


def _mark_points(group: ElementTree.Element, says: Sequence[Mark]) -> None:
    """Wrap each point of a drawn collection, in the order they were given."""
    holders = [(holder, i) for holder in group.iter() for i, each in enumerate(holder) if each.tag == f"{{{SVG}}}use"]
    for (holder, index), mark in zip(holders, says, strict=True):
        point = ElementTree.Element(f"{{{SVG}}}g")
        point.append(holder[index])
        _shorten(holder[index])
        holder[index] = _marked(point, mark)


def _marked(element: ElementTree.Element, mark: Mark) -> ElementTree.Element:
    title = ElementTree.Element(f"{{{SVG}}}title")
    title.text = mark.text
    element.insert(0, title)
    element.set("class", "mark")
    if mark.href is None:
        return element
    link = ElementTree.Element(f"{{{SVG}}}a", {"href": mark.href})
    link.append(element)
    return link
