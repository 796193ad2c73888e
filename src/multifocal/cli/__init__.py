"""The command line: parse, call, print."""

import sys
import warnings

from rich.console import Console

from multifocal.errors import UserError


def run(arguments: list[str] | None = None) -> None:
    """Run `multifocal` and exit: 0 done, 2 what the user can put right (one line on stderr), 130 Ctrl-C."""
    # torchvision's image decoders, which nothing here uses, are missing beside a CPU build of torch.
    warnings.filterwarnings("ignore", message="Failed to load image Python extension")
    try:
        from multifocal.cli.main import app

        app(arguments, standalone_mode=True)
    except UserError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False, style="red")
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; what was finished is kept", style="yellow")
        sys.exit(130)
