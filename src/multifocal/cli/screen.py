"""The screen: results on stdout, progress on stderr."""

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn

WIDTH = 140  # of a file or a pipe, which have none: rows should not break there


def screen() -> Console:
    """Return stdout for text that is shown as it is: names and paths may look like Rich's markup."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def notice(text: str) -> None:
    """Say on stderr what is going on."""
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False).print(text)


def progress(*columns: ProgressColumn) -> Progress:
    """Return progress bars that leave nothing behind, and nothing at all in files and pipes."""
    # Not Rich's word for it, which FORCE_COLOR changes: a bar in a file is thousands of control codes.
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
