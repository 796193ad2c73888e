"""How many cells this machine can run at once."""

import os
from pathlib import Path

from multifocal.errors import UserError
from multifocal.studies.settings import Resources

CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def slots(resources: Resources, *, workers: int | None, device: str = "auto") -> list[str]:
    """Return one entry for each cell that can run at once: the GPU it sees, "" for none.

    Args:
        resources: of one cell.
        workers: at most so many; None takes as many as cores, memory and GPUs allow.
        device: `cuda:N` keeps all cells to that GPU; any other leaves them all there are.

    Raises:
        UserError: one cell alone needs more than there is, or there is no such GPU.
    """
    limits = {"cores": cores() // resources.cpus, "memory": int(memory_gib() // resources.memory_gib)}
    gpus = [""]
    if resources.gpus:
        import torch

        there, chosen = gpu_names(torch.cuda.device_count()), device.partition(":")[2]
        if chosen and int(chosen) >= len(there):
            raise UserError(f"device {device}: there is no such GPU, found {len(there)}; use --device cpu")
        share = int(1 / resources.gpus)
        gpus = [name for name in ([there[int(chosen)]] if chosen else there) for _ in range(share)]
        limits["GPUs"] = len(gpus)
    scarce, number = min(limits.items(), key=lambda item: item[1])
    if number < 1:
        raise UserError(
            f"a cell needs {resources.cpus} cores, {resources.memory_gib:g} GiB and {resources.gpus:g} GPUs; this "
            f"machine has {cores()} cores and {memory_gib():.1f} GiB and is short of {scarce}; lower `resources` of "
            "the study"
        )
    number = min(number, workers or number)
    return gpus[:number] if resources.gpus else gpus * number


def gpu_names(number: int) -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each of so many GPUs: its own words where it is set, as under Slurm."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(number)]
    return [name.strip() for name in visible.split(",")[:number]]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Return how much memory this machine has, or this process may use, in GiB."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CGROUPS:
        if file.is_file() and (text := file.read_text().strip()).isdecimal():
            sizes.append(int(text))
    return min(sizes) / 2**30
