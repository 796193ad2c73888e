"""Members of an ensemble, several trained at a time, each by a process of its own."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, TextIO

import torch

from multifocal.errors import UserError
from multifocal.parallel import check_main, deaf_children

START: Literal["spawn", "fork"] = "spawn"  # a forked process could not use a GPU
GO_ON = "the other members are kept, and --resume goes on"


def train_members(works: Mapping[str, Callable[[], Any]], *, at_once: int) -> None:
    """Do every work in a process of its own, so many at a time, the threads of this one divided among them.

    However it ends, no process stays behind: not after an error in one of them, not after Ctrl-C, and not where this
    process is killed. A training that is ended so is resumed from its last epoch.

    Args:
        works: what to call by the name of the member, in the order in which they begin; a new process can import it.
        at_once: how many run at a time; from 1.

    Raises:
        UserError: what one of them raised, with its name, or one was killed; or fresh processes cannot import the main
            script.
        RuntimeError: one of them failed otherwise; its traceback is on stderr.
        KeyboardInterrupt: Ctrl-C.
    """
    check_main()
    context = get_context(START)
    threads = max(1, torch.get_num_threads() // at_once)
    waiting = deque(works.items())
    running: dict[Any, tuple[str, Any, Connection]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name, work = waiting.popleft()
                told, telling = context.Pipe(duplex=False)
                process = context.Process(target=_do, args=(work, name, threads, telling))  # type: ignore[attr-defined]
                with deaf_children():
                    process.start()
                telling.close()  # or nobody would see that the process has closed its own
                running[process.sentinel] = name, process, told
            for sentinel in connection.wait(list(running)):
                name, process, told = running.pop(sentinel)
                process.join()
                if process.exitcode:
                    raise _failure(name, process.exitcode, told)
    finally:
        for _, process, _ in running.values():
            process.kill()  # whatever a training writes is whole at any moment
        for _, process, _ in running.values():
            process.join()


def failed(name: str, error: UserError) -> UserError:
    """Return the error of a member: which it is, what is wrong, and how to go on.

    Args:
        name: of the member.
        error: what its training raised.

    Returns:
        The error, to be raised.

    Example:
        >>> str(failed("member 1 (default)", UserError("the disk is full; free some space")))
        'member 1 (default): the disk is full; free some space (the other members are kept, and --resume goes on)'
    """
    return UserError(f"{name}: {error} ({GO_ON})")


def _failure(name: str, code: int, told: Connection) -> Exception:
    try:
        return failed(name, UserError(told.recv()))
    except EOFError:
        pass
    if code < 0:
        why = f"its process was killed ({signal.Signals(-code).name}), likely for want of memory"
        return failed(name, UserError(f"{why}; train fewer members at a time (--members)"))
    return RuntimeError(f"{name}: its process failed; its traceback stands above")


def _do(work: Callable[[], Any], name: str, threads: int, telling: Connection) -> None:
    _end_with_parent()
    torch.set_num_threads(threads)
    with Path(os.devnull).open("w") as nowhere:  # progress bars of several processes would overwrite one another
        sys.stdout, sys.stderr = nowhere, _Labelled(name, sys.stderr)  # type: ignore[assignment]
        try:
            work()
        except UserError as error:
            telling.send(str(error))
            sys.exit(2)
        finally:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # type: ignore[assignment]


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


class _Labelled:
    """A stream whose lines begin with a member's name: those of several processes stand among one another."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream

    def write(self, text: str) -> int:
        return self._stream.write(f"{self._name}: {text}" if text.strip() else text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
