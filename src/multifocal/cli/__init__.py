"""The command line: parse, call, print."""

import sys
import warnings

from multifocal.cli.screen import notice
from multifocal.errors import UserError
from multifocal.quiet import keep_stderr

EXTRAS = {
    "lightning": "train",
    "monai": "train",
    "tensorboard": "train",
    "ray": "ray",
    "jinja2": "reports",
    "matplotlib": "reports",
    "PIL": "reports",
}
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
    keep_stderr()
    try:
        from multifocal.cli.main import app

        app(arguments, standalone_mode=True)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        notice(f"error: this needs {error.name}: pip install 'multifocal[{extra}]'", style="red")
        sys.exit(2)
    except UserError as error:
        notice(f"error: {error}", style="red")
        sys.exit(2)
    except PermissionError as error:
        notice(f"error: {error.filename}: no permission; change it, or choose another path", style="red")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as leaving:
        if isinstance(leaving, SystemExit) and leaving.code != INTERRUPTED:
            raise
        notice(f"interrupted{_kept(arguments or sys.argv[1:])}", style="yellow")
        sys.exit(INTERRUPTED)


def _kept(arguments: list[str]) -> str:
    """Return what a command that was interrupted leaves behind."""
    how = next((how for command, how in LEFT.items() if tuple(arguments[: len(command)]) == command), None)
    return f"; what was finished is kept; {how}" if how else ""
