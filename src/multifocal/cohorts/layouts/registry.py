"""Layouts by name: how a folder is recognised as one, and how its cases are found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.registry import Registry

Read = Callable[[LayoutResult], None]


@dataclass(frozen=True)
class Layout:
    """A way to lay a cohort out in a folder.

    Attributes:
        name: what the user calls it.
        needs: what the folder must hold, for the message when nothing is recognised.
        matches: says from names alone whether a path looks like this layout.
        read: adds every case and every problem to the result; never stops at a problem.

    Example:
        >>> LAYOUTS["nnunet"].matches(Path("."))
        False
    """

    name: str
    needs: str
    matches: Callable[[Path], bool]
    read: Read


LAYOUTS: Registry[Layout] = Registry(
    "layout", package="multifocal.cohorts.layouts", group="multifocal.layouts", callable_of=lambda layout: layout.read
)


def register(name: str, *, needs: str, matches: Callable[[Path], bool]) -> Callable[[Read], Read]:
    """Return a decorator that makes a reader known as a layout.

    Args:
        name: what the user calls it.
        needs: what the folder must hold, for the message when nothing is recognised.
        matches: says from names alone whether a path looks like this layout.

    Returns:
        The decorator. What it decorates gets a `LayoutResult`, adds every case and every problem under its `root`, and
        never stops at a problem.

    Raises:
        ValueError: the name is taken (when the decorator is called).

    Example:
        >>> _ = layout_names()
        >>> @register("nnunet", needs="FLAIR.nii.gz", matches=lambda root: (root / "FLAIR.nii.gz").is_file())
        ... def read(found: LayoutResult) -> None:
        ...     found.add(found.root.name, images={"flair": ImageFile(found.root / "FLAIR.nii.gz")})
        Traceback (most recent call last):
        ValueError: layout name 'nnunet' is taken by multifocal.cohorts.layouts.nnunet.read
    """

    def add(read: Read) -> Read:
        LAYOUTS.register(name, Layout(name, needs, matches, read))
        return read

    return add


def layout_names() -> tuple[str, ...]:
    """Return the names of all layouts, sorted.

    Returns:
        The names.

    Example:
        >>> layout_names()
        ('bonbid-hie', 'images2d', 'manifest', 'nnunet')
    """
    return tuple(sorted(LAYOUTS))
