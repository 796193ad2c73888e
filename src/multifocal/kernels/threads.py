"""Work shared out to threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Found = TypeVar("Found")


def shared(work: Callable[[int, int], Found], count: int, *, threads: int, least: int = 1) -> list[Found]:
    """Call `work(start, stop)` on equal parts of `range(count)`, each in a thread of its own.

    Threads live for this call only, so that a process may be forked at any other time.

    Args:
        work: what to do; must leave the interpreter's lock for threads to gain anything.
        count: how much there is to do.
        threads: at most so many parts.
        least: a thread gets no less than this.
    """
    parts = max(1, min(threads, count // least))
    ends = [count * part // parts for part in range(parts + 1)]
    if parts == 1:
        return [work(0, count)]
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(work, ends[part], ends[part + 1]) for part in range(1, parts)]
        return [work(ends[0], ends[1]), *(other.result() for other in others)]
