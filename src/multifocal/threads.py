"""How many threads to compute with on a machine that may be shared, and how they wait for each other.

Threads that share a loop wait at its end until the slowest is there, by spinning: where another process holds a core,
all of them burn theirs and the loop takes several times as long. So fewer threads are faster on a busy machine, and
threads that sleep while they wait; docs/benchmarks.md has the numbers.
"""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_WAIT = "OMP_WAIT_POLICY"
_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use: by affinity, and by its container's share of time.

    Returns:
        1 or more.

    Example:
        >>> cores() >= 1
        True
    """
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return number if quota is None else max(1, min(number, int(quota)))


def free_cores() -> int:
    """Return how many cores others leave free: the cores less the processes that have been running for the last minute.

    Returns:
        1 or more.

    Example:
        >>> 1 <= free_cores() <= cores()
        True
    """
    return max(1, cores() - round(_load()))


def settle_waiting() -> None:
    """Let OpenMP's threads sleep while they wait, where others need the cores; before torch is imported.

    `OMP_WAIT_POLICY` in the environment is kept.

    Example:
        >>> settle_waiting()
    """
    if free_cores() < cores():
        os.environ.setdefault(_WAIT, "PASSIVE")


def settle_threads(threads: int | None = None) -> int:
    """Tell torch how many threads to compute with.

    Args:
        threads: so many; None takes what the environment says (OMP_NUM_THREADS), else the cores that are free.

    Returns:
        How many there are now.

    Example:
        >>> import torch
        >>> before = torch.get_num_threads()
        >>> settle_threads(1), settle_threads(before) == before
        (1, True)
    """
    import torch

    if threads is None and not any(os.environ.get(name) for name in _NUMBER):
        threads = free_cores()
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _quota() -> float | None:
    """Return how many cores' time a container may use; None where there is no limit."""
    try:
        if _QUOTA.is_file():
            limit, period = _QUOTA.read_text().split()
        else:
            limit, period = (file.read_text().strip() for file in _QUOTA_1)
        return float(limit) / float(period) if limit not in ("max", "-1") else None
    except (OSError, ValueError):
        return None
