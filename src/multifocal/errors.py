"""The one exception whose message is meant for the person at the keyboard."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


LESS_MEMORY = (
    "lower training.batch_size, or predict a part at a time: inference.window (such as [64,64,64]) and a lower "
    "inference.batch_size"
)
"""What to do about want of memory where a network is at work."""

SMALLER_IMAGE = "crop or resample the image, or run fewer processes at once (--workers, training.workers)"
"""What to do about want of memory where an image is read."""

_NO_MEMORY = re.compile(
    "out of memory|not enough memory|can't allocate memory|failed to allocate|unable to allocate|bad_alloc"
    "|MemoryAllocationError|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
_ASKED = re.compile(r"(?:tried to|unable to) allocate ([\d.]+) ?(bytes|[KMGTPE]?i?B)\b", re.IGNORECASE)


def out_of_memory(error: BaseException, cure: str) -> UserError | None:
    """Return the error for want of memory, of a processor or a GPU, as torch, NumPy, ITK and Python each say it.

    Args:
        error: anything that was raised.
        cure: what to do about it.

    Returns:
        The error, to be raised; None where the want is another one.

    Example:
        >>> print(out_of_memory(MemoryError("Unable to allocate 7.45 GiB for an array"), "use fewer workers"))
        out of memory: 7.45 GiB more were asked for than there is; use fewer workers
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _NO_MEMORY.search(text)):
        return None
    size = _ASKED.search(text)
    if size is None:
        return UserError(f"out of memory; {cure}")
    amount = f"{float(size[1]) / 2**30:.3g} GiB" if size[2] == "bytes" else f"{size[1].rstrip('.')} {size[2]}"
    return UserError(f"out of memory: {amount} more were asked for than there is; {cure}")


@contextmanager
def within_memory(cure: str, *, where: str = "") -> Iterator[None]:
    """Raise want of memory inside the block as a `UserError`; every other error goes on as it is.

    Args:
        cure: what to do about it.
        where: what was at work, for the message; "" names nothing.

    Yields:
        None: nothing.

    Raises:
        UserError: there was not enough memory.

    Example:
        >>> with within_memory("use fewer workers", where="scan.mha"):
        ...     raise MemoryError
        Traceback (most recent call last):
        multifocal.errors.UserError: scan.mha: out of memory; use fewer workers
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if (short := out_of_memory(error, cure)) is None:
            raise
        raise UserError(f"{where}: {short}" if where else str(short)) from error


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of another package says, for a message of one line.

    Args:
        error: anything that was raised.

    Returns:
        The line; the name of its type where it says nothing.

    Example:
        >>> first_line(RuntimeError("no such device\\nStack trace: ...")), first_line(EOFError())
        ('no such device', 'EOFError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
