"""What tests run in processes of their own: commands that can be killed at a chosen moment."""

import importlib
import os
import signal
import sys
from pathlib import Path

import torch

from multifocal.cli import run


def command(arguments: list[str], output: Path, die: tuple[str, int] | None = None) -> None:
    """Run `multifocal` with stdout and stderr in the files output.out and output.err.

    `die` names a function (`module:Class.method`) and a number n: at its n-th call the process is killed as by
    `kill -9`, before the function does anything.
    """
    torch.set_num_threads(1)
    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        file = os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
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
