"""Layouts by name: how a folder is recognised as one, and how its cases are found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multifocal.cohorts.layouts.findings import Findings
from multifocal.errors import unknown_name

Reader = Callable[[Findings], None]


@dataclass(frozen=True)
class Layout:
    """A way to lay a cohort out in a folder.

    Attributes:
        name: what the user calls it.
        needs: what the folder must hold, for the message when nothing is recognised.
        matches: says from names alone whether a path looks like this layout.
        read: adds every case and every problem to the findings; never stops at a problem.
    """

    name: str
    needs: str
    matches: Callable[[Path], bool]
    read: Reader


_LAYOUTS: dict[str, Layout] = {}


def register(name: str, *, needs: str, matches: Callable[[Path], bool]) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a reader known as a layout.

    Raises:
        ValueError: the name is taken.
    """

    def add(read: Reader) -> Reader:
        if name in _LAYOUTS:
            raise ValueError(f"layout name {name!r} is taken by {_LAYOUTS[name].read.__module__}")
        _LAYOUTS[name] = Layout(name, needs, matches, read)
        return read

    return add


def layout_names() -> tuple[str, ...]:
    """Return the names of all layouts.

    Example:
        >>> layout_names()
        ('bonbid-hie', 'images2d', 'manifest', 'nnunet')
    """
    return tuple(sorted(_LAYOUTS))


def get(name: str) -> Layout:
    """Return the layout of that name; raises `UserError` that lists the choices."""
    if name not in _LAYOUTS:
        raise unknown_name("layout", name, layout_names())
    return _LAYOUTS[name]


def every() -> tuple[Layout, ...]:
    """Return all layouts."""
    return tuple(_LAYOUTS[name] for name in layout_names())
