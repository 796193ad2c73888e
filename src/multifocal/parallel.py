"""One function over many arguments, in several processes that end well."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from multifocal.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


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
        UserError: a process was killed; and whatever the function raises.

    Example:
        >>> list(parallel_map(abs, [-1, 2, -3], workers=1))
        [1, 2, 3]
    """
    if workers == 1:
        yield from map(function, items)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        with _deaf_children():
            results = pool.map(function, items)
        yield from results
    except BrokenProcessPool as error:
        raise UserError("a process was killed, likely for want of memory; use fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach, as it goes to the whole group: the parent alone answers it.

    Children inherit the mask; an interrupt that comes meanwhile reaches the parent at the end of the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
