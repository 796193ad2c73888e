"""One process at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multifocal.errors import UserError
from multifocal.files import write_error


@contextmanager
def locked(folder: Path, *, busy: str | None = None) -> Iterator[None]:
    """Hold a folder, made where there is none, as long as the block runs; a killed process holds nothing.

    Args:
        folder: what to hold.
        busy: the error where somebody else holds it; None waits instead.

    Raises:
        UserError: it is held, or cannot be: no permission, a file system or a system without locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder), busy="busy"):
        ...     with locked(Path(folder), busy=f"another one is at work there"):
        ...         pass
        Traceback (most recent call last):
        multifocal.errors.UserError: another one is at work there
    """
    try:
        while (descriptor := _hold(folder, wait=busy is None)) is None:
            continue
    except BlockingIOError as error:
        raise UserError(busy) from error
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _hold(folder: Path, *, wait: bool) -> int | None:
    """Return the descriptor that holds the folder; None where the folder was removed or replaced meanwhile."""
    try:
        import fcntl
    except ModuleNotFoundError as error:
        raise UserError(f"{folder}: this system has no locks for folders; run on Linux or macOS, or in WSL") from error
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if folder.exists() and os.path.samestat(folder.stat(), os.fstat(descriptor)):
            kept, descriptor = descriptor, -1
            return kept
        return None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
