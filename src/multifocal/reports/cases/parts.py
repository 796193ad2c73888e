"""The parts of an arm's system beside the whole: their table, and the outlines of all of them in one picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from multifocal.reports.cases.pictures import Slice, Tile

METRICS = ("dice", "nsd", "f1")
COLOURS = 6  # colours of outlines; further parts begin again
Rows = Sequence[Mapping[str, Any]]


class PartLine(NamedTuple):
    """The whole, or one of its parts, over some cases: means of metrics, and counts of components added up.

    Attributes:
        name: the part's; that of the arm for the whole.
        colour: the class of its outlines.
        scores: the mean of each of `METRICS`, NaN where no case defines it.
        counts: components that were predicted; true lesions found and missed; false ones; None where nothing is scored.
    """

    name: str
    colour: str
    scores: Mapping[str, float]
    counts: tuple[int, int, int, int] | None


def part_key(arm: str, part: str) -> str:
    """Return what a part is called among the arms: no arm's name has a slash."""
    return f"{arm}/{part}"


def part_colour(number: int) -> str:
    """Return the class of the outlines of the part of that number."""
    return f"part-{number % COLOURS}"


def part_lines(arm: str, rows: Rows, parts: Mapping[str, Rows]) -> Iterator[PartLine]:
    """Yield the lines of a table of parts: the whole first.

    Args:
        arm: its name.
        rows: of its `cases.csv`, those of the cases that count.
        parts: the same of each part, by name.

    Yields:
        PartLine: one for the whole, then one for each part.

    Example:
        >>> row = {"dice": 0.5, "nsd": 0.25, "f1": 1.0}
        >>> row |= {"predicted_lesions": 3, "true_lesions": 2, "missed": 1, "false": 2}
        >>> whole, first = part_lines("cascade", [row], {"first": [row | {"dice": 0.75}, row]})
        >>> whole.counts, first.name, first.colour, first.scores["dice"], first.counts
        ((3, 1, 1, 2), 'first', 'part-0', 0.625, (6, 2, 2, 4))
    """
    yield _line(arm, "prediction", rows)
    for number, (name, own) in enumerate(parts.items()):
        yield _line(name, part_colour(number), own)


def part_tiles(shown: Slice, arm: str, parts: Sequence[str]) -> list[Tile | None]:
    """Return one slice with all outlines, then with those of each part and the truth; a part's are in its own colour.

    Args:
        shown: the slice, drawn for the arm and its parts.
        arm: its name.
        parts: names of its parts, in order.

    Returns:
        The pictures; None for a part that has no mask.
    """
    whole, alone = shown.arms[arm], [shown.arms[part_key(arm, part)] for part in parts]
    lines = [_predicted(tile, part_colour(number), parts[number]) for number, tile in enumerate(alone)]
    together = [line for of_part in lines for line in of_part]
    together += _predicted(whole, "prediction", arm)  # last: it may lie on a part's outline
    pictures: list[Tile | None] = [replace(shown.truth, paths=(*shown.truth.paths, *together))]
    for tile, own in zip(alone, lines, strict=True):
        pictures.append(tile and replace(shown.truth, paths=(*shown.truth.paths, *own)))
    return pictures


def _predicted(tile: Tile | None, colour: str, what: str) -> list[tuple[str, str, str]]:
    return [(colour, path, what) for kind, path, _ in (tile.paths if tile else ()) if kind == "prediction"]


def _line(name: str, colour: str, rows: Rows) -> PartLine:
    counts = ("predicted_lesions", "true_lesions", "missed", "false")
    found, true, missed, false = (sum(int(row[count]) for row in rows) for count in counts)
    scores = {metric: _mean([row[metric] for row in rows]) for metric in METRICS}
    return PartLine(name, colour, scores, (found, true - missed, missed, false) if rows else None)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
