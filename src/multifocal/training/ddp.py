"""Data-parallel processes on one machine, whose errors and interruptions come home."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Literal

from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, ProcessRaisedException

from multifocal.errors import LESS_MEMORY, UserError, out_of_memory

START: Literal["spawn", "fork"] = "spawn"  # a forked process could not use a GPU
PATIENCE = 10.0  # seconds that a process has to put down what it is writing


def run_in_processes(target: Callable[..., None], *arguments: Any, processes: int) -> None:
    """Call `target(rank, *arguments)` in so many new processes, told of one another as Lightning expects.

    Args:
        target: a function that a new process can import.
        *arguments: its arguments after the rank; they are pickled.
        processes: how many.

    Raises:
        UserError: what the first process to fail raised; or one was killed.
        KeyboardInterrupt: Ctrl-C; all processes have ended.
    """
    told = multiprocessing.get_context(START).SimpleQueue()
    given = (told, _free_port(), processes, target, arguments)
    started = multiprocessing.start_processes(_run, given, nprocs=processes, join=False, start_method=START)
    try:
        while not started.join():
            pass
    except (ProcessRaisedException, ProcessExitedException) as error:
        if not told.empty():
            raise UserError(told.get()) from error
        if isinstance(error, ProcessExitedException) and error.signal_name:
            raise UserError(
                f"a training process was killed ({error.signal_name}), likely for want of memory; "
                "lower training.batch_size or --processes; --resume goes on from the last epoch"
            ) from error
        raise
    finally:
        _end(started)


def _run(rank: int, told: Any, port: int, processes: int, target: Callable[..., None], arguments: tuple) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }
    try:
        target(rank, *arguments)
    except UserError as error:
        # Before this process leaves: the others fail when it does, and their errors say nothing.
        told.put(str(error))
        raise
    except (MemoryError, RuntimeError) as error:
        if short := out_of_memory(error, LESS_MEMORY):
            told.put(str(short))
        raise


def _end(started: ProcessContext) -> None:
    alive = [process for process in started.processes if process.is_alive()]
    for process in alive:
        os.kill(process.pid, signal.SIGINT)
    for process in alive:
        process.join(PATIENCE)
        process.kill()
        process.join()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
