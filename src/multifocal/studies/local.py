"""Cells on this machine, each in a process of its own, as many at once as it can take."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from multifocal.errors import UserError
from multifocal.files import write_error
from multifocal.studies.cell import Job
from multifocal.studies.folder import CELL, LOG, CellResult, read_outcome
from multifocal.studies.settings import Resources
from multifocal.threads import cores

POLL = 0.2  # seconds
PATIENCE = 10.0  # seconds that a process has to put down what it is writing
LAST_LINES = 20
QUIET = "ignore:Failed to load image Python extension"  # torchvision's, which nothing here uses
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
Event = tuple[Job, CellResult | None] | None
"""A cell that has begun (None), or ended; None in between, for whoever draws the progress."""


def run_here(jobs: Sequence[Job], *, resources: Resources, slots: Sequence[str]) -> Iterator[Event]:
    """Run every job in a process of its own, one in each slot at a time, and tell what happens.

    However the iteration ends, no process stays behind.

    Args:
        jobs: in the order they are begun in.
        resources: of each.
        slots: the GPU of each cell that runs at the same time, see `slots`.

    Yields:
        Event: a job and None when it begins, a job and how it ended, or None several times a second.

    Example:
        >>> from functools import partial
        >>> from multifocal.studies import load, slots
        >>> needs = load("demo").resources
        >>> engine = partial(run_here, resources=needs, slots=slots(needs, workers=1))  # for `run_cells`
        >>> list(engine([]))  # no cell is left to run
        []
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


def execute(job: Job, *, cpus: int, gpu: str | None = None) -> CellResult:
    """Do one cell in a process of its own, and return how it ended; a cell that is done is left as it is."""
    before = read_outcome(job.folder)
    is_same = before is not None and (before.state, before.fingerprint) == ("done", job.fingerprint)
    if before is not None and is_same and (before.probabilities or not job.probabilities):
        return before  # its machine was lost before it could tell
    try:
        process = CellProcess(job, cpus=cpus, gpu=gpu)
    except UserError as error:
        return job.failed(str(error))
    try:
        while (outcome := process.outcome()) is None:
            time.sleep(0.1)
        return outcome
    finally:
        if process.process.poll() is None:
            process.stop()


class CellProcess:
    """A cell at work in its own process group; what it prints goes to `cell.log`.

    Args:
        job: the cell.
        cpus: its number of threads.
        gpu: what CUDA_VISIBLE_DEVICES calls the GPU that it sees, "" for none; None leaves the environment as it is.

    Raises:
        UserError: the cell's folder cannot be written.
    """

    def __init__(self, job: Job, *, cpus: int, gpu: str | None) -> None:
        self.job = job
        log = job.folder / LOG
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            (job.folder / CELL).unlink(missing_ok=True)  # of an attempt that failed
            with log.open("ab") as file:
                self._begin = file.tell()
                self.process = subprocess.Popen(
                    command("multifocal.studies.cell"),
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment(cpus, gpu),
                )
        except OSError as error:
            raise write_error(log, error) from error
        self._tell(job)

    def _tell(self, job: Job) -> None:
        try:
            self.process.stdin.write(job.model_dump_json().encode() + b"\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            return  # it has died already; its exit code says so

    def outcome(self) -> CellResult | None:
        """Return how the cell ended, written down; None while it has not."""
        code = self.process.poll()
        if code is None:
            return None
        self.process.stdin.close()  # type: ignore[union-attr]
        found = read_outcome(self.job.folder) if code == 0 else None
        if found is not None:
            return found
        return self.job.failed(f"{reason(code)}\n{self._last_lines()}".strip())

    def stop(self) -> None:
        """End the process and its own; what it has finished stays."""
        self._signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def _last_lines(self) -> str:
        try:
            with (self.job.folder / LOG).open("rb") as file:
                file.seek(self._begin)
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"{LOG} cannot be read: {error.strerror}"
        lines = text.strip().splitlines()
        # An error that is meant for people is the last line, and enough.
        return "\n".join(lines[-1:] if lines and lines[-1].startswith("error: ") else lines[-LAST_LINES:])


def reason(code: int) -> str:
    """Return why a process ended that others cannot ask, in words, by its exit code."""
    if code == -signal.SIGKILL:
        return (
            "killed by the system (SIGKILL), likely for want of memory: raise resources.memory_gib, so that fewer "
            "cells run at once, or lower training.batch_size"
        )
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def command(module: str) -> list[str]:
    """Return what starts a module's `main` in a fresh Python."""
    return [sys.executable, "-W", QUIET, "-c", f"from {module} import main; main()"]


def environment(cpus: int, gpu: str | None) -> Mapping[str, str]:
    """Return this process's environment with so many threads, and one GPU, none ("") or those there are (None)."""
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    return {**os.environ, **dict.fromkeys(THREADS, str(cpus)), **visible}


def slots(resources: Resources, *, workers: int | None, device: str = "auto") -> list[str]:
    """Return one entry for each cell that can run at once: the GPU it sees, "" for none.

    Args:
        resources: of one cell.
        workers: at most so many; None takes as many as cores, memory and GPUs allow.
        device: `cuda:N` keeps all cells to that GPU; any other leaves them all there are.

    Returns:
        As many entries as cells run at once.

    Raises:
        UserError: one cell alone needs more than there is, or there is no such GPU.

    Example:
        >>> slots(Resources(memory_gib=0.1), workers=1)
        ['']
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


def memory_gib() -> float:
    """Return how much memory this machine has, or this process may use, in GiB."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CGROUPS:
        if file.is_file() and (text := file.read_text().strip()).isdecimal():
            sizes.append(int(text))
    return min(sizes) / 2**30
