"""How many cells this machine can run at once."""

import os
from pathlib import Path

from multifocal.errors import UserError
from multifocal.studies.settings import Resources

CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def slots(resources: Resources, *, workers: int | None) -> list[str]:
    """Return one entry for each cell that can run at once: the GPU it sees, "" for none.

    Args:
        resources: of one cell.
        workers: at most so many; None takes as many as cores, memory and GPUs allow.

    Raises:
        UserError: one cell alone needs more than there is.
    """
    limits = {"cores": cores() // resources.cpus, "memory": int(memory_gib() // resources.memory_gib)}
    gpus = [""]
    if resources.gpus:
        import torch

        share = int(1 / resources.gpus)
        gpus = [name for name in gpu_names(torch.cuda.device_count()) for _ in range(share)]
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
