"""The process of a cell, as seen by whoever started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from multifocal.errors import UserError
from multifocal.files import write_error
from multifocal.studies.job import Job
from multifocal.studies.state import CELL, LOG, CellResult, read_outcome

PATIENCE = 10.0  # seconds that a process has to put down what it is writing
LAST_LINES = 20
QUIET = "ignore:Failed to load image Python extension"  # torchvision's, which nothing here uses
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
        return self.job.failed(f"{_reason(code)}\n{self._last_lines()}".strip())

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


def execute(job: Job, *, cpus: int, gpu: str | None = None) -> CellResult:
    """Do one cell in a process of its own, and return how it ended; a cell that is done is left as it is."""
    before = read_outcome(job.folder)
    if before is not None and (before.state, before.fingerprint) == ("done", job.fingerprint):
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


def command(module: str) -> list[str]:
    """Return what starts a module's `main` in a fresh Python."""
    return [sys.executable, "-W", QUIET, "-c", f"from {module} import main; main()"]


def environment(cpus: int, gpu: str | None) -> Mapping[str, str]:
    """Return this process's environment with so many threads, and one GPU, none ("") or those there are (None)."""
    visible = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
    return {**os.environ, **dict.fromkeys(THREADS, str(cpus)), **visible}


def _reason(code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            "killed by the system (SIGKILL), likely for want of memory: raise resources.memory_gib, so that fewer "
            "cells run at once, or lower training.batch_size"
        )
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
