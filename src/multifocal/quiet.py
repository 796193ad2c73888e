"""C libraries held silent: what MetaIO and libpng write to stderr, an error in one line says better."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2  # MetaIO and libpng write to the descriptor and know no switch
_lock = threading.Lock()
_depth, _kept = 0, -1


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere as long as the block runs; several threads may be in one.

    So goes what Python writes to `sys.stderr` meanwhile in other threads, unless `keep_stderr` was called.

    Example:
        >>> with quiet():
        ...     _ = os.write(2, b"MetaImage: Read: Cannot parse file")
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def keep_stderr() -> None:
    """Give `sys.stderr` a file descriptor of its own, so that bars and messages go on while libraries are silent."""
    try:
        if sys.stderr is None or sys.stderr.fileno() != _STDERR:
            return
        own = os.dup(_STDERR)
    except (OSError, ValueError):  # closed, or replaced by something without a descriptor
        return
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")


def _enter() -> None:
    global _depth, _kept
    with _lock:
        if not _depth:
            try:
                _kept = os.dup(_STDERR)
            except OSError:  # closed, as of a daemon: it is silent already
                _kept = -1
            else:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, _STDERR)
                os.close(nowhere)
        _depth += 1


def _leave() -> None:
    global _depth, _kept
    with _lock:
        _depth -= 1
        if not _depth and _kept >= 0:
            os.dup2(_kept, _STDERR)
            os.close(_kept)
            _kept = -1


def _forked() -> None:
    """Undo in a new process what only threads of the old one would."""
    global _lock, _depth
    _lock = threading.Lock()
    if _depth:
        _depth = 1
        _leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
