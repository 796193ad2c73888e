"""How loops are compiled, once per machine, and shared out to threads."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

# Parts for each thread, taken as it comes to them: one whose core is busy with something else does not keep the others
# waiting. (Torch's threads spin for a while after each operation.)
_PARTS = 4


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called, without the interpreter's lock, and keep the outcome on disk.

    Where neither the package's folder nor the user's cache can be written to, each process compiles anew.

    Args:
        function: loops over NumPy arrays, in what numba knows of Python.

    Returns:
        The compiled function, of the same arguments.

    Example:
        >>> @compiled
        ... def count(flags):
        ...     found = 0
        ...     for flag in flags:
        ...         found += flag
        ...     return found
        >>> import numpy as np
        >>> count(np.array([True, False, True]))
        2
    """
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba finds no folder for its cache
        return numba.njit(nogil=True, error_model="numpy")(function)


def parallel_for(work: Callable[[int, int], None], count: int, *, threads: int, least: int = 1) -> None:
    """Call `work(start, stop)` on parts of `range(count)`, in several threads.

    Threads live for this call only, so that a process may be forked at any other time.

    Args:
        work: what to do; must leave the interpreter's lock for threads to gain anything.
        count: how much there is to do.
        threads: at most so many, the caller's among them.
        least: what is worth a thread.

    Example:
        >>> done = []
        >>> parallel_for(lambda start, stop: done.extend(range(start, stop)), 4, threads=1)
        >>> done
        [0, 1, 2, 3]
    """
    threads = max(1, min(threads, count // least))
    if threads == 1:
        work(0, count)
        return
    parts = _PARTS * threads
    ends = [count * part // parts for part in range(parts + 1)]
    left = deque(zip(ends[:-1], ends[1:], strict=True))

    def run() -> None:
        while left:
            try:
                start, stop = left.popleft()
            except IndexError:  # taken by another one just now
                return
            work(start, stop)

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(run) for _ in range(threads - 1)]
        run()
        for other in others:
            other.result()
