"""What tests run in processes of their own: commands that can be killed at a chosen moment."""

import importlib
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch

from multifocal import training
from multifocal.cli import run
from multifocal.errors import UserError


def command(arguments: list[str], output: Path, die: tuple[str, int] | None = None, largest: int | None = None) -> None:
    """Run `multifocal` with stdout and stderr in the files output.out and output.err.

    `die` names a function (`module:Class.method`) and a number n: at its n-th call the process is killed as by
    `kill -9`, before the function does anything. No file can grow beyond `largest` bytes: then writes fail, as on a
    full disk.
    """
    torch.set_num_threads(1)
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        file = os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if die:
        _die_at(*die)
    run(arguments)


def _die_at(name: str, count: int) -> None:
    module, _, path = name.partition(":")
    *parents, last = path.split(".")
    owner = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    function, calls = getattr(owner, last), 0

    def replacement(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(owner, last, replacement)


def fail(rank: int, folder: Path, how: str) -> None:
    """A data-parallel process: the second fails, or never ends, and the first waits for it."""
    (folder / f"{rank}-{os.environ['WORLD_SIZE']}").write_text(str(os.getpid()))
    while rank == 0 or how == "never":
        time.sleep(0.05)
    if how == "user":
        raise UserError("scan.mha: too dark; light it up")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "memory":
        torch.zeros(10**14)
    if how == "bug":
        raise RuntimeError("a bug")


def fail_in_processes(folder: Path, how: str) -> None:
    """The same, in a process that can be interrupted."""
    training.ddp.START = "fork"
    training.ddp.run_in_processes(fail, folder, how, processes=2)
