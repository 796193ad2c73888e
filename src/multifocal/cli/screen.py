"""The screen: results on stdout, progress on stderr."""

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
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
