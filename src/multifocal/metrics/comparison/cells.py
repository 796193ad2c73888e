"""The cells of a table: what is in them, and what is marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from multifocal.metrics.catalogue import METRICS

Mark = Literal["", "best", "second"]
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """A text, and whether it is the best or second best of its column."""

    text: str
    mark: Mark = ""


@dataclass(frozen=True)
class Sheet:
    """A table: the first `texts` columns are text, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str
    texts: int = 1


def marked(texts: Sequence[str], ranks: Sequence[float | None]) -> list[Cell]:
    """Return cells of which those with the lowest rank are best and those with the next one second.

    Equal ranks are marked alike; when all are equal, nothing is marked.

    Example:
        >>> [cell.mark for cell in marked(["a", "b", "c", "d"], [2.0, 1.0, None, 2.0])]
        ['second', 'best', '', 'second']
    """
    # Means of ranks that are equal may differ in the last digit.
    rounded = [None if rank is None else round(rank, 9) for rank in ranks]
    levels = sorted({rank for rank in rounded if rank is not None})
    names: dict[float, Mark] = dict(zip(levels, ("best", "second"), strict=False)) if len(levels) > 1 else {}
    return [Cell(text, "" if rank is None else names.get(rank, "")) for text, rank in zip(texts, rounded, strict=True)]


def heading(metric: str) -> str:
    """Return a metric's heading with its unit and the direction in which it is better.

    Example:
        >>> heading("masd"), heading("volume_difference")
        ('MASD (mm) ↓', '|volume difference| (ml) ↓')
    """
    found = METRICS[metric]
    text = f"|{found.heading}|" if found.best == "zero" else found.heading
    unit = "" if found.unit == "1" else f" ({found.unit})"
    return f"{text}{unit} {'↑' if found.best == 'highest' else '↓'}"


def number(value: float | None, *, digits: int) -> str:
    """Return the value, or a dash for none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    """Return p with three digits, `<0.001` below them."""
    return "<0.001" if p is not None and p < 0.001 else number(p, digits=3)
