"""The command line: parse, call, print."""

import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from multifocal.cli.screen import notice
from multifocal.errors import LESS_MEMORY, UserError, out_of_memory
from multifocal.quiet import keep_stderr
from multifocal.threads import settle_waiting
from multifocal.versions import missing

INTERRUPTED = 130  # which Typer exits with, too
# What is left by Ctrl-C, and how to go on; where nothing is said, nothing is left or it is to be made anew.
LEFT = {
    ("train",): "run again with --resume to go on",
    ("evaluate",): "run again to go on",
    ("study",): "run again to go on",
    ("data", "fetch"): "run again to go on",
    ("predict",): "--overwrite predicts all again",
    ("ensemble",): "--overwrite combines all again",
}


def run(arguments: list[str] | None = None) -> None:
    """Run `multifocal` and exit: 0 done, 2 what the user can put right (one line on stderr), 130 Ctrl-C."""
    # torchvision's image decoders, which nothing here uses, are missing beside a CPU build of torch.
    harmless = "Failed to load image Python extension"
    warnings.filterwarnings("ignore", message=harmless)
    sys.warnoptions.append(f"ignore:{harmless}")  # for the processes that training starts
    settle_waiting()
    keep_stderr()
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        from multifocal.cli.main import app

        app(arguments, standalone_mode=True)
    except ModuleNotFoundError as error:
        wanted = missing(error)
        if wanted is None:
            raise
        notice(f"error: {wanted}", style="red")
        sys.exit(2)
    except UserError as error:
        notice(f"error: {error}", style="red")
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        networks = (arguments or sys.argv[1:])[:1] in (["train"], ["predict"], ["study"], ["demo"])
        short = out_of_memory(error, LESS_MEMORY if networks else "use fewer --workers, or a machine with more memory")
        if short is None:
            raise
        notice(f"error: {short}", style="red")
        sys.exit(2)
    except PermissionError as error:
        notice(f"error: {error.filename}: no permission; change it, or choose another path", style="red")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as leaving:
        if isinstance(leaving, SystemExit) and leaving.code != INTERRUPTED:
            raise
        notice(f"interrupted{_kept(arguments or sys.argv[1:])}", style="yellow")
        sys.exit(INTERRUPTED)


def _show_warning(others: Any, message: Warning | str, category: type[Warning], filename: str, *place: Any) -> None:
    """Print a warning of ours for people, in one line; what warns developers stays as it is."""
    if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parents[1]):
        notice(f"warning: {message}", style="yellow")
    else:
        others(message, category, filename, *place)


def _kept(arguments: list[str]) -> str:
    """Return what a command that was interrupted leaves behind."""
    how = next((how for command, how in LEFT.items() if tuple(arguments[: len(command)]) == command), None)
    return f"; what was finished is kept; {how}" if how else ""
