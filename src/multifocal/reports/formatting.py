"""Numbers, names and file names as a reader wants them."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from multifocal.evaluation.wording import VOLUMES, Wording
from multifocal.metrics import Metric

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"  # where there is no number
LONGEST = 60  # characters of a file name; leaves room for endings within what every file system takes


def number(value: Any, *, digits: int = 3, sign: bool = False) -> str:
    """Return a number for a table, with a true minus; a dash for None, NaN and inf.

    Args:
        value: a number, or None.
        digits: after the point.
        sign: write a plus, too.

    Returns:
        The text.

    Example:
        >>> number(-0.12345), number(None), number(12.5, digits=1, sign=True)
        ('−0.123', '–', '+12.5')
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", MINUS)


def printed(value: float | None) -> str:
    """Return somebody else's number with the digits it has.

    Args:
        value: a number, or None.

    Returns:
        The text.

    Example:
        >>> printed(0.38), printed(32.0), printed(None)
        ('0.38', '32', '–')
    """
    return NONE if value is None else f"{value:g}".replace("-", MINUS)


def span(low: Any, high: Any, *, digits: int = 3, sign: bool = False) -> str:
    """Return an interval, or nothing where there is none.

    Args:
        low: where it begins.
        high: where it ends.
        digits: after the point.
        sign: write a plus, too.

    Returns:
        The text.

    Example:
        >>> span(0.1, 0.25, digits=2), span(None, None)
        ('0.10–0.25', '')
    """
    if low is None or high is None:
        return ""
    joined = " to " if sign else NONE  # a dash beside a minus would be read twice
    return joined.join(number(end, digits=digits, sign=sign) for end in (low, high))


def with_unit(metric: Metric, words: Wording = VOLUMES) -> str:
    """Return a metric's heading with its unit; bars stand for absolute values, where zero is best.

    Args:
        metric: the metric.
        words: what sizes and lengths are called.

    Returns:
        The text.

    Example:
        >>> from multifocal.metrics import METRICS
        >>> with_unit(METRICS["masd"]), with_unit(METRICS["volume_difference"])
        ('MASD (mm)', '|volume difference| (ml)')
    """
    return words.heading(metric)


def better(metric: Metric) -> str:
    """Return which way is better, as an arrow; nothing for a plain measurement."""
    return {"highest": "\N{UPWARDS ARROW}", "lowest": "\N{DOWNWARDS ARROW}", "zero": "\N{DOWNWARDS ARROW}"}.get(
        metric.best or "", ""
    )


def seconds(value: Any) -> str:
    """Return a time for people.

    Args:
        value: seconds, or None.

    Returns:
        The text.

    Example:
        >>> seconds(5.2), seconds(75), seconds(7300), seconds(None)
        ('5.2 s', '1 min 15 s', '2 h 1 min', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def facts(value: Any, *, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as lines of (dotted key, value).

    Args:
        value: data as JSON has it.
        prefix: what all names begin with.

    Returns:
        Pairs of a dotted name and its value as text.

    Example:
        >>> facts({"a": {"b": 1, "c": [2, 3]}})
        [('a.b', '1'), ('a.c', '2, 3')]
    """
    if isinstance(value, Mapping):
        return [
            line
            for key, inner in value.items()
            for line in facts(inner, prefix=f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        return facts({str(number): inner for number, inner in enumerate(value, start=1)}, prefix=prefix)
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "" if value is None else str(value))]


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name (without ending) for every name: letters, digits, dots, hyphens and underscores only.

    A name that has to change gets a part of its SHA-256, so that no two share a file, also where the file system takes
    upper and lower case for the same.

    Args:
        names: of cases, each once.

    Returns:
        The file name of each, without an ending.

    Example:
        >>> file_names(["S1-VISIT_01", "a/b"])
        {'S1-VISIT_01': 'S1-VISIT_01', 'a/b': 'a-b-c14cddc0'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".")[:LONGEST]
        if plain != name or plain.lower() in taken:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            plain = f"{plain}-{digest}".lstrip("-.")
        while plain.lower() in taken:
            plain += "-"
        taken.add(plain.lower())
        found[name] = plain
    return found
