"""The screen: results on stdout, progress on stderr."""

import os
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

WIDTH = 140  # of a file or a pipe, which have none: rows should not break there
_HARMLESS = "\n\t"
_HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (such as right-to-left), surrogates, line separators


def escaped(text: str) -> str:
    r"""Return text whose control characters are written out, so that the name of a file cannot steer the terminal.

    Args:
        text: with names and paths of anybody's making.

    Returns:
        The text; ends of lines and tabs stay.

    Example:
        >>> print(escaped("scan\x1b[2J.mha"))
        scan\x1b[2J.mha
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _HARMFUL and char not in _HARMLESS
        else char
        for char in text
    )


class Screen(Console):
    """A terminal, a file or a pipe that shows text as it is: no markup, and control characters written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Return a string as it is shown, before its width is measured."""
        return super().render_str(escaped(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is shown of anything else, such as styled text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escaped(segment.text), segment.style)


def screen() -> Screen:
    """Return stdout for text that is shown as it is: names and paths may look like Rich's markup."""
    console = Screen()
    if not console.is_terminal:
        console.width = WIDTH
    return console


def notice(text: str, *, style: str | None = None) -> None:
    """Say something on stderr, in one line."""
    try:
        Screen(stderr=True, soft_wrap=True).print(" ".join(text.splitlines()), style=style)
    except OSError:  # on a full disk: the exit code still tells, if Python does not try again when it ends
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def progress(*columns: ProgressColumn) -> Progress:
    """Return progress bars that leave nothing behind, and nothing at all in files and pipes."""
    described = TextColumn("{task.description}", markup=False)
    columns = columns or (described, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # Not Rich's word for it, which FORCE_COLOR changes: a bar in a file is thousands of control codes.
    return Progress(*columns, console=Screen(stderr=True), transient=True, disable=not sys.stderr.isatty())
