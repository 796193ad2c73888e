"""One function over many arguments, in several processes that end well."""

import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from multifocal.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
GUARD = 'put what the script starts under `if __name__ == "__main__":`'


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Generator[Result, None, None]:
    """Yield `function(item)` for every item, in order; with more than one worker in fresh (spawned) processes.

    Whatever ends the iteration (an error in a call, Ctrl-C, the caller closing the generator) drops the calls that have
    not begun and waits for those that have: no process stays behind.

    Args:
        function: importable by a fresh process, if there is more than one worker.
        items: its arguments, one a call, which can be pickled.
        workers: processes; 1 calls the function in this one.

    Yields:
        Result: what the function returns, in the order of the items.

    Raises:
        UserError: fresh processes cannot import the main script, or one was killed; and whatever the function raises.

    Example:
        >>> list(parallel_map(abs, [-1, 2, -3], workers=1))
        [1, 2, 3]
    """
    if workers == 1:
        yield from map(function, items)
        return
    check_main()
    context = get_context("spawn")
    begun = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=begun.set)
    try:
        with deaf_children():
            results = pool.map(function, items)
        yield from results
    except BrokenProcessPool as error:
        if not begun.is_set():
            raise UserError(f"no process could begin: each imports the main script first; {GUARD}") from error
        raise UserError("a process was killed, likely for want of memory; use fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def check_main() -> None:
    """Raise `UserError` where fresh processes could not import the main script, which they do before anything else.

    Raises:
        UserError: the script came from stdin, or would run all over again in each of them.

    Example:
        >>> check_main()
    """
    main = sys.modules["__main__"]
    file, module = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if file is None or (module is not None and module.name.endswith("__main__")):
        return  # which they do not import
    if Path(file).name == "<stdin>":
        raise UserError(
            f"a script from stdin cannot have several processes, for they read it again; save it, and {GUARD}"
        )
    try:
        source = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if "__name__" not in source:
        raise UserError(f"{file}: each of several processes would run the script from its start; {GUARD}")


@contextmanager
def deaf_children() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, as it goes to the whole group: the parent alone answers it.

    Children inherit the mask; an interrupt that comes meanwhile reaches the parent at the end of the block.

    Yields:
        None: nothing.

    Example:
        >>> with deaf_children():
        ...     signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        True
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
