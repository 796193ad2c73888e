"""Cells on a Ray cluster."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from multifocal.errors import UserError, first_line
from multifocal.studies.cell import Job
from multifocal.studies.folder import LOG, CellResult
from multifocal.studies.grid import Cell
from multifocal.studies.local import POLL, Event, execute
from multifocal.studies.settings import Resources

IN_FLIGHT = 2000  # tasks that Ray knows of at a time: more than any cluster runs, few enough to look through
RETRIES = 5  # of a cell whose machine is lost
LOOKED_AT = 100  # logs at a time: Ray begins tasks in their order, or nearly so
ADDRESS = "RAY_ADDRESS"


def run_on_ray(
    jobs: Sequence[Job],
    *,
    resources: Resources,
    address: str | None = None,
    task: Callable[..., CellResult] = execute,
) -> Iterator[Event]:
    """Run every job as a Ray task that starts the cell's process, and tell which ended.

    A cell whose machine is lost is run again on another one, where it goes on from its last epoch; the study's folder
    and the cohort lie on storage that all machines share.

    Args:
        jobs: in the order they are begun in.
        resources: of each.
        address: of the cluster; None is that of `RAY_ADDRESS`, or a cluster of this machine alone.
        task: what is done with a job.

    Yields:
        Event: a job and None when it begins, a job and how it ended, or None several times a second.

    Raises:
        UserError: no such cluster, or no machine in it that could run a cell.
        ModuleNotFoundError: the extra `ray` is not installed.

    Example:
        >>> from functools import partial
        >>> engine = partial(run_on_ray, resources=Resources(cpus=4), address="localhost:1")  # for `run_cells`
        >>> next(engine([]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        multifocal.errors.UserError: Ray cluster localhost:1: cannot connect: ...
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    _connect(address)
    running: dict[Any, Job] = {}
    waiting_to_begin: dict[Cell, tuple[Job, int]] = {}  # with what their logs held when they were handed over
    try:
        _check_room(resources)
        remote = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=int(resources.memory_gib * 2**30),
            max_retries=RETRIES,
        )(task)
        waiting, options = iter(jobs), {"cpus": resources.cpus, "gpu": None if resources.gpus else ""}
        while True:
            for job in islice(waiting, IN_FLIGHT - len(running)):
                waiting_to_begin[job.cell] = job, _log_size(job)
                running[remote.remote(job, **options)] = job
            if not running:
                return
            looked_at = list(islice(waiting_to_begin.values(), LOOKED_AT))
            for job in [job for job, before in looked_at if _log_size(job) > before]:
                del waiting_to_begin[job.cell]
                yield job, None
            ended, _ = ray.wait(list(running), num_returns=len(running), timeout=POLL)
            for reference in ended:
                job = running.pop(reference)
                if waiting_to_begin.pop(job.cell, None):  # it was quick, or its log is on another machine still
                    yield job, None
                yield job, _outcome(job, reference)
            yield None
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        ray.shutdown()


def _log_size(job: Job) -> int:
    """Return how long a cell's log is; it grows when the cell begins."""
    try:
        return (job.folder / LOG).stat().st_size
    except OSError:
        return 0


def _connect(address: str | None) -> None:
    import ray

    where = address or os.environ.get(ADDRESS)
    try:
        host, _, port = (where or "").rpartition(":")
        if host and port.isdecimal() and "/" not in host:
            socket.create_connection((host, int(port)), timeout=10).close()  # Ray would try for minutes
        if where:
            ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"Ray cluster {where or 'of this machine'}: cannot connect: {first_line(error)}; "
            "`ray status` on its head shows whether it runs"
        ) from error


def _check_room(resources: Resources) -> None:
    import ray

    needs = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory_gib * 2**30}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(name, 0) >= need for name, need in needs.items()) for node in nodes):
        raise UserError(
            f"none of the {len(nodes)} machines of the Ray cluster has {resources.cpus} cores, "
            f"{resources.memory_gib:g} GiB and {resources.gpus:g} GPUs for a cell; lower `resources` of the study, or "
            "start a larger machine"
        )


def _outcome(job: Job, reference: Any) -> CellResult:
    """Return how a cell ended, or that it failed: its machines were lost too often."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(reference)
    except RayError as error:
        return job.failed(f"Ray: {first_line(error)}")
