"""The one exception whose message is meant for the person at the keyboard."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user can put right: one line that says what is wrong, where, and the cure.

    The command line prints the message alone and exits with code 2. Everything else that escapes is a bug and shows
    its traceback.

    Example:
        >>> raise UserError("scan.mha: file is truncated; copy it again from the source")
        Traceback (most recent call last):
        multifocal.errors.UserError: scan.mha: file is truncated; copy it again from the source
    """


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """Return the error for a name that is not among the choices: it names the nearest one and lists them all.

    Args:
        kind: what the name is of, for the message.
        name: the name given.
        choices: the names there are.

    Returns:
        The error, to be raised.

    Example:
        >>> str(unknown_name("network", "unet3", ["unet3d", "unetpp"]))
        "unknown network 'unet3'; did you mean 'unet3d'? Choose from: unet3d, unetpp"
    """
    choices = list(choices)
    near = get_close_matches(name, choices, n=1)
    hint = f"did you mean '{near[0]}'? Choose" if near else "choose"
    return UserError(
        f"unknown {kind} {name!r}; " + (f"{hint} from: {', '.join(choices)}" if choices else "there are none")
    )
