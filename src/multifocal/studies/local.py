"""Cells on this machine, as many at once as it can take."""

import time
from collections import deque
from collections.abc import Iterator, Sequence

from multifocal.errors import UserError
from multifocal.studies.job import Job
from multifocal.studies.process import CellProcess
from multifocal.studies.settings import Resources
from multifocal.studies.state import CellResult

POLL = 0.2  # seconds
Event = tuple[Job, CellResult | None] | None
"""A cell that has begun (None), or ended; None in between, for whoever draws the progress."""


def run_here(jobs: Sequence[Job], *, resources: Resources, slots: Sequence[str]) -> Iterator[Event]:
    """Run every job in a process of its own, one in each slot at a time, and tell what happens.

    However the iteration ends, no process stays behind.

    Args:
        jobs: in the order they are begun in.
        resources: of each.
        slots: the GPU of each cell that runs at the same time, see `machine.slots`.
    """
    waiting, free = deque(jobs), list(slots)
    running: dict[CellProcess, str] = {}
    try:
        while waiting or running:
            while waiting and free:
                slot, job = free.pop(0), waiting.popleft()
                try:
                    running[CellProcess(job, cpus=resources.cpus, gpu=slot)] = slot
                except UserError as error:  # its folder cannot be written; those of the others may well be
                    free.append(slot)
                    yield job, None
                    yield job, job.failed(str(error))
                    continue
                yield job, None
            for process in list(running):
                if (outcome := process.outcome()) is not None:
                    free.append(running.pop(process))
                    yield process.job, outcome
            yield None
            time.sleep(POLL)
    finally:
        for process in running:
            process.stop()
