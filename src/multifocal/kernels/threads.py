"""Work shared out to threads."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# Parts for each thread, taken as it comes to them: one whose core is busy with something else does not keep the others
# waiting. (Torch's threads spin for a while after each operation.)
_PARTS = 4


def shared(work: Callable[[int, int], None], count: int, *, threads: int, least: int = 1) -> None:
    """Call `work(start, stop)` on parts of `range(count)`, in several threads.

    Threads live for this call only, so that a process may be forked at any other time.

    Args:
        work: what to do; must leave the interpreter's lock for threads to gain anything.
        count: how much there is to do.
        threads: at most so many, the caller's among them.
        least: what is worth a thread.
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
