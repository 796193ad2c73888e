"""The command line: parse, call, print."""

import sys
import warnings

from rich.console import Console

from multifocal.errors import UserError

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


def run(arguments: list[str] | None = None) -> None:
    """Run `multifocal` and exit: 0 done, 2 what the user can put right (one line on stderr), 130 Ctrl-C."""
    # torchvision's image decoders, which nothing here uses, are missing beside a CPU build of torch.
    harmless = "Failed to load image Python extension"
    warnings.filterwarnings("ignore", message=harmless)
    sys.warnoptions.append(f"ignore:{harmless}")  # for the processes that training starts
    screen = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        from multifocal.cli.main import app

        app(arguments, standalone_mode=True)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        screen.print(f"error: this needs {error.name}: pip install 'multifocal[{extra}]'", style="red")
        sys.exit(2)
    except UserError as error:
        screen.print(f"error: {' '.join(str(error).splitlines())}", style="red")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as leaving:
        if isinstance(leaving, SystemExit) and leaving.code != INTERRUPTED:
            raise
        again = "again with --resume" if "train" in (arguments or sys.argv[1:])[:1] else "again"
        screen.print(f"interrupted; what was finished is kept; run {again} to go on", style="yellow")
        sys.exit(INTERRUPTED)
