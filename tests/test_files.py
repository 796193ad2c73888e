import builtins
import errno
import fcntl
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.files import (
    WRITING,
    atomic,
    clear_up,
    files_named,
    locked,
    read_json,
    swapped,
    write_csv,
    write_json,
    write_text,
)

WRITERS = {
    "write_text": lambda path: write_text(path, "x" * 100_000),
    "write_json": lambda path: write_json(path, ["x"] * 10_000),
    "write_csv": lambda path: write_csv(path, [{"a": 1}] * 10_000),
}


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(monkeypatch):
    """Make every file that is written through `atomic` under these names a way into /dev/full, which is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    make = tempfile.mkdtemp

    def fill(*names):
        def mkdtemp(**options):
            folder = make(**options)
            for name in names:
                (Path(folder) / name).symlink_to("/dev/full")
            return folder

        monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)

    return fill


def test_the_file_appears_whole_with_its_name_and_new_folders(tmp_path):
    path = tmp_path / "new" / "and deeper" / "scan.nii.gz"
    with atomic(path) as temporary:
        assert temporary.name == path.name
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert _names(path.parent) == [path.name]


def test_only_what_nobody_is_writing_is_cleared_up(tmp_path):
    (tmp_path / f"{WRITING}dead").mkdir()
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        clear_up(tmp_path, tmp_path / "none")
        assert _names(tmp_path) == [temporary.parent.name]
    assert _names(tmp_path) == ["a.txt"]


def test_files_are_found_while_folders_come_and_go(tmp_path, monkeypatch):
    for place in ("", "members/0", f"{WRITING}abc", "gone"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "log.csv").write_text("")
    look = os.scandir

    def gone_meanwhile(path):
        if Path(path).name == "gone":
            raise FileNotFoundError(path)
        return look(path)

    monkeypatch.setattr(os, "scandir", gone_meanwhile)
    found = files_named(tmp_path, "log.csv")
    assert found == [tmp_path / "log.csv", tmp_path / "members/0/log.csv"]


def test_a_folder_can_be_written_too(tmp_path):
    with atomic(tmp_path / "entry") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "a.txt").write_text("a")
        assert not (tmp_path / "entry").exists()
    assert (tmp_path / "entry" / "deep" / "a.txt").read_text() == "a"
    with pytest.raises(UserError, match="entry: cannot write"), atomic(tmp_path / "entry") as temporary:
        temporary.mkdir()
        (temporary / "b.txt").write_text("b")
    assert _names(tmp_path / "entry") == ["deep"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_process_that_is_killed_leaves_no_half_file(old, tmp_path):
    path = tmp_path / "a.txt"
    if old:
        write_text(path, old)
    program = (
        "import sys, time; from multifocal.files import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('ha'); print('half', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"half\n"
        child.kill()
    assert child.returncode < 0
    assert (path.read_text() if path.exists() else None) == old
    write_text(path, "new")
    assert path.read_text() == "new"


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    texts = [str(number) * 50_000 for number in range(8)]
    threads = [threading.Thread(target=write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(name, tmp_path, full_disk):
    path = tmp_path / "out.dat"
    path.write_text("old")
    full_disk("out.dat")
    with pytest.raises(UserError, match="out.dat: cannot write: the disk is full; free some space"):
        WRITERS[name](path)
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["out.dat"]


def test_a_part_of_an_array_is_a_full_disk_too(tmp_path, full_disk):
    full_disk("a.npy")
    with pytest.raises(UserError, match="a.npy: cannot write: .*disk is full"), atomic(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.zeros(1_000_000))
    assert _names(tmp_path) == []


def test_an_error_without_a_number_has_a_cure_too(tmp_path):
    """What NumPy raises when fewer bytes were written than it asked for."""
    with (
        pytest.raises(UserError, match="a.npy: cannot write: only part .* free some space"),
        atomic(tmp_path / "a.npy"),
    ):
        raise OSError("1000 requested and 10 written")


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "quota is used up; free some space"),
        (errno.EACCES, "no permission to write there; choose another folder"),
        (errno.EROFS, "read-only; choose another folder"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_system_refuses_is_explained(number, cure, tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(UserError, match=cure) as caught:
        write_text(tmp_path / "a.txt", "x")
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="no permission to write there"):
        write_text(tmp_path / "a.txt", "x")


def test_a_file_for_a_folder_a_folder_for_a_file_and_a_name_too_long(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path, cure in (
        (tmp_path / "file" / "a.txt", "a file stands where a folder should be; choose another folder"),
        (tmp_path / "file" / "deep" / "a.txt", "a file stands where a folder should be; choose another folder"),
        (tmp_path / "folder", "a folder stands where the file should be; choose another name"),
        (tmp_path / ("x" * 300), "the name is too long; choose a shorter one"),
    ):
        with pytest.raises(UserError, match=cure) as caught:
            write_text(path, "x")
        assert str(path) in str(caught.value)
    assert _names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("path", ["", ".", "./", "..", "new/..", "{cwd}"])
def test_the_current_folder_is_never_replaced(path, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    message = "the current folder, or one above, cannot be replaced; choose a new name"
    with pytest.raises(UserError, match=message), atomic(path.format(cwd=here)) as temporary:
        temporary.mkdir()
    assert _names(tmp_path) == ["here"] and _names(here) == []


def test_what_is_put_on_the_disk_is_open_for_writing(tmp_path, monkeypatch):
    """On Windows nothing else can be."""
    modes = []
    monkeypatch.setattr(os, "fsync", lambda number: modes.append(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE))
    write_text(tmp_path / "a.txt", "x")
    assert modes == [os.O_RDWR] and (tmp_path / "a.txt").read_text() == "x"


def test_a_copy_may_be_read_only(tmp_path):
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        temporary.chmod(0o400)
    assert (tmp_path / "a.txt").read_text() == "x"


def test_json_there_and_back(tmp_path):
    value = {"a": [1, 2.5, None, True], "ä": "→"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_json_has_no_nan(value, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", value)
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON .*line 1"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON .*recursion"),
    ],
)
def test_bad_json_is_named(content, message, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_json_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}


def test_a_pipe_and_a_device_are_refused_before_they_are_opened(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for path in (tmp_path / "a.json", tmp_path / "zero.json"):
        with pytest.raises(UserError, match=f"^{path}: is a pipe or a device; save what it gives"):
            read_json(path)


def test_json_keeps_bytes_that_are_no_character(tmp_path):
    write_json(tmp_path / "a.json", os.fsdecode(b"a\xff"))
    assert os.fsencode(read_json(tmp_path / "a.json")) == b"a\xff"


def test_json_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none.json: no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot read: Is a directory"):
        read_json(tmp_path)


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, [{"case": "a,b", "dice": 0.5}, {"case": 'say "x"', "dice": None}])
    assert path.read_text() == 'case,dice\n"a,b",0.5\n"say ""x""",\n'
    write_csv(path, [{"b": 1, "a": 2}], columns=["a", "b", "c"])
    assert path.read_text() == "a,b,c\n2,1,\n"
    write_csv(path, [], columns=["a"])
    assert path.read_text() == "a\n"
    with pytest.raises(ValueError, match="not in fieldnames"):
        write_csv(path, [{"a": 1}, {"b": 1}])
    assert path.read_text() == "a\n"


# One process at a time in a folder.


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
from multifocal.files import locked
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


# Folders that replace older ones all at once, or not at all.


def fill(parent: Path, **folders: str) -> None:
    for name, text in folders.items():
        (parent / name).mkdir(parents=True)
        (parent / name / "file").write_text(text)


def read(parent: Path) -> dict[str, str]:
    assert not list(parent.glob(f"{WRITING}*"))
    return {folder.name: (folder / "file").read_text() for folder in parent.iterdir()}


def test_the_new_take_the_places_of_the_old(tmp_path):
    fill(tmp_path, a="old", b="old", other="other")
    with swapped(tmp_path, ["a", "b", "c"]) as new:
        fill(new, a="new", c="new")
        assert {name: (tmp_path / name / "file").read_text() for name in "ab"} == {"a": "old", "b": "old"}
    assert read(tmp_path) == {"a": "new", "c": "new", "other": "other"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("wrong"), OSError(28, "No space left on device")])
def test_what_fails_leaves_the_old(tmp_path, error):
    fill(tmp_path, a="old")
    expected = pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else UserError)
    with expected, swapped(tmp_path, ["a"]) as new:
        fill(new, a="new")
        raise error
    assert read(tmp_path) == {"a": "old"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(5))
def test_an_interruption_between_two_renames_loses_nothing(tmp_path, monkeypatch, number, moment, error):
    """Three names, of which one is new and one not old; the n-th of five renames is interrupted."""
    fill(tmp_path, a="old", b="old")
    rename, calls = Path.rename, []

    def interrupted(path, target):
        calls.append(path)
        if len(calls) == number + 1 and moment == "before":
            raise error
        rename(path, target)
        if len(calls) == number + 1:
            raise error

    expected = pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt)
    with expected, swapped(tmp_path, ["a", "b", "c"]) as new:
        fill(new, a="new", b="new", c="new")
        monkeypatch.setattr(Path, "rename", interrupted)
    assert len(calls) > number
    assert read(tmp_path) == {"a": "old", "b": "old"}


def test_what_is_being_written_is_left_alone_and_what_a_killed_one_left_is_not(tmp_path):
    fill(tmp_path / f"{WRITING}a" / "new", b="killed")
    with swapped(tmp_path, ["a", "b"]) as new:
        fill(new, a="first")
        busy = pytest.raises(UserError, match="a: is being written by another process; wait for it to end")
        with busy, swapped(tmp_path, ["a", "b"]):
            pytest.fail("written twice")
    assert read(tmp_path) == {"a": "first"}
