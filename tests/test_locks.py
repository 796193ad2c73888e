"""One process at a time in a folder."""

import builtins
import errno
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from multifocal.errors import UserError
from multifocal.locks import locked


def test_a_folder_is_made_and_held_by_one_at_a_time(tmp_path):
    folder = tmp_path / "a" / "b"
    with locked(folder, busy="busy"):
        with pytest.raises(UserError, match="^taken$"), locked(folder, busy="taken"):
            pytest.fail("held twice")
        with locked(tmp_path / "a", busy="busy"):
            pass
    with locked(folder, busy="busy"):
        pass


def test_the_next_one_waits_and_holds_the_folder_that_is_there_then(tmp_path):
    """The folder goes away under whoever waits for it: what is held then is the one that others find."""
    folder, ended = tmp_path / "folder", []

    def wait():
        with locked(folder), pytest.raises(UserError), locked(folder, busy="busy"):
            pytest.fail("held twice")
        ended.append(time.monotonic())

    with locked(folder):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        folder.rename(tmp_path / "aside")
        left = time.monotonic()
    waiting.join(10)
    assert folder.is_dir() and ended and ended[0] >= left


HOLDS = """
import sys, time
from pathlib import Path
from multifocal.locks import locked
with locked(Path(sys.argv[1]), busy="busy"):
    print(flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_nothing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        with pytest.raises(UserError, match="^busy$"), locked(tmp_path, busy="busy"):
            pytest.fail("held twice")
        process.kill()
    with locked(tmp_path, busy="busy"):
        pass


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    descriptors = []

    def refuse(descriptor, operation):
        descriptors.append(descriptor)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=f"^{tmp_path}: cannot write: No locks available$"), locked(tmp_path, busy="b"):
        pytest.fail("not held")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptors[0])


def test_a_system_without_locks_is_one_line(tmp_path, monkeypatch):
    found = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "fcntl":
            raise ModuleNotFoundError("No module named 'fcntl'", name="fcntl")
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=f"^{tmp_path}: this system has no locks"), locked(tmp_path, busy="busy"):
        pytest.fail("not held")
