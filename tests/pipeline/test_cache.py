import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from multifocal.errors import UserError
from multifocal.files import WRITING
from multifocal.pipeline import cache as module
from multifocal.pipeline.cache import ARRAYS, Cache
from multifocal.pipeline.prepare import prepare
from multifocal.pipeline.settings import BrainBox, Channel

SETTINGS = BrainBox(kind="brain-box", brain="adc", channels=(Channel(map="adc"), Channel(map="zadc", below=-2)))


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture(autouse=True)
def nothing_open():
    module._open.cache_clear()


@pytest.fixture
def case(case_in, tmp_path):
    return case_in(tmp_path)


def test_what_comes_out_is_what_was_prepared(case, tmp_path):
    found, expected = Cache(str(tmp_path / "cache"), SETTINGS).get(case), prepare(case, SETTINGS)
    assert (found.name, found.geometry, found.native) == (expected.name, expected.geometry, expected.native)
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype and np.array_equal(one, other)


def test_arrays_are_mapped_read_only_and_opened_once(case, tmp_path):
    cache = Cache(tmp_path / "cache", SETTINGS)
    found = cache.get(case)
    for name in ARRAYS:
        assert not getattr(found, name).flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            getattr(found, name)[...] = 0
    assert cache.get(case) is found


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not say what is mapped")
def test_arrays_are_maps_that_keep_no_file_open(case, tmp_path):
    cache = Cache(tmp_path / "cache", SETTINGS)
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = [cache.get(replace(case, name=f"{i}")) for i in range(3)]
    maps = Path("/proc/self/maps").read_text()
    assert len(found) == 3
    assert all(maps.count(f"/{name}.npy\n") == 3 for name in ARRAYS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_entry_read_while_too_many_files_are_open_is_not_damaged(case, tmp_path):
    Cache(tmp_path / "cache", SETTINGS).get(case)
    cache = Cache(tmp_path / "cache", SETTINGS)
    cache._entries[case] = next((tmp_path / "cache").iterdir())
    module._open.cache_clear()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot read: Too many open files; raise the limit \(`ulimit -n`\)"):
            cache.get(case)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert cache.get(case).images.any()


def test_an_entry_that_finds_no_room_in_memory_is_not_damaged(case, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise RuntimeError("unable to mmap 64 bytes: Cannot allocate memory (12)\nat somewhere")

    monkeypatch.setattr(torch, "from_file", refuse)
    with pytest.raises(UserError, match=r"cannot read: unable to mmap 64 .*\(12\); check the disk") as caught:
        Cache(tmp_path / "cache", SETTINGS).get(case)
    assert "\n" not in str(caught.value)


def test_a_case_without_a_label(case_in, tmp_path):
    case = case_in(tmp_path, replace={"label": None})
    found = Cache(tmp_path / "cache", SETTINGS).get(case)
    assert found.images.shape[0] == 2
    assert found.target is None and found.label is None


def test_equal_content_shares_an_entry_whatever_its_name_and_place(case_in, tmp_path):
    cache = Cache(tmp_path / "cache", SETTINGS)
    first = cache.get(case_in(tmp_path / "a", name="A"))
    second = Cache(tmp_path / "cache", SETTINGS).get(case_in(tmp_path / "b", name="B"))
    assert len(entries(tmp_path / "cache")) == 1
    assert (first.name, second.name) == ("A", "B")


def test_a_case_is_made_once(case, tmp_path, monkeypatch):
    Cache(tmp_path / "cache", SETTINGS).get(case)
    monkeypatch.setattr(module, "prepare", None)
    Cache(tmp_path / "cache", SETTINGS).get(case)


def test_another_scan_label_or_setting_is_another_entry(case_in, tmp_path):
    def used(case, settings=SETTINGS):
        before = entries(tmp_path / "cache")
        Cache(tmp_path / "cache", settings).get(case)
        return entries(tmp_path / "cache") - before

    case = case_in(tmp_path)
    assert used(case)
    assert not used(case)
    for key in ("adc", "zadc", "label"):
        file = case.label if key == "label" else case.images[key]
        before = file.read().array
        changed = before.copy()
        changed[6, 8, 4] = 1 - changed[6, 8, 4] if key == "label" else 3
        case_in(tmp_path, replace={key: changed})
        assert used(case), key
        case_in(tmp_path, replace={key: before})
        assert not used(case), key
    assert used(replace(case, label=None))
    assert used(case, SETTINGS.model_copy(update={"margin": 1}))
    assert used(case, SETTINGS.model_copy(update={"channels": SETTINGS.channels[::-1]}))


def test_cases_of_one_name_are_not_mixed_up(case_in, tmp_path):
    """Two cohorts may name their cases alike."""
    cache = Cache(tmp_path / "cache", SETTINGS)
    one, other = (cache.get(case_in(tmp_path / str(seed), seed=seed)) for seed in (1, 2))
    assert one.name == other.name
    assert not np.array_equal(one.images, other.images)


def test_a_cache_travels_to_workers_without_its_arrays(case, tmp_path):
    cache = Cache(tmp_path / "cache", SETTINGS)
    found = cache.get(case)
    sent = pickle.dumps(cache)
    assert len(sent) < len(pickle.dumps(Cache(tmp_path / "cache", SETTINGS))) + 1000 < found.images.nbytes
    assert np.array_equal(pickle.loads(sent).get(case).images, found.images)


def test_a_case_that_cannot_be_prepared_leaves_nothing(case_in, tmp_path):
    case = case_in(tmp_path, replace={"adc": np.zeros((13, 16, 9), np.float32)})
    with pytest.raises(UserError, match="no brain"):
        Cache(tmp_path / "cache", SETTINGS).get(case)
    assert entries(tmp_path / "cache") == set()


# Damage


def damaged(case, folder, change):
    Cache(folder, SETTINGS).get(case)
    module._open.cache_clear()
    (entry,) = folder.iterdir()
    change(entry)
    with pytest.raises(UserError, match="damaged cache entry .*; delete this folder and run again") as caught:
        Cache(folder, SETTINGS).get(case)
    assert str(entry) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [f"{array}.npy" for array in ARRAYS] + ["entry.json"])
@pytest.mark.parametrize("share", [None, 0.0, 0.1, 0.9])
def test_a_missing_or_truncated_file(name, share, case, tmp_path):
    def change(entry):
        content = (entry / name).read_bytes()
        (entry / name).unlink()
        if share is not None:
            (entry / name).write_bytes(content[: int(share * len(content))])

    damaged(case, tmp_path / "cache", change)


@pytest.mark.parametrize("text", ["[]", "{}", '{"arrays": 3, "geometry": {}, "native": {}}', "\0"])
def test_a_strange_description(text, case, tmp_path):
    damaged(case, tmp_path / "cache", lambda entry: (entry / "entry.json").write_text(text))


def test_a_pickle_in_place_of_an_array_is_not_run(case, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "trace"), "w")

    def change(entry):
        (entry / "images.npy").write_bytes(pickle.dumps(Bomb()))

    damaged(case, tmp_path / "cache", change)
    assert not (tmp_path / "trace").exists()


def test_a_damaged_entry_can_be_deleted_and_is_made_again(case, tmp_path):
    damaged(case, tmp_path / "cache", lambda entry: (entry / "images.npy").unlink())
    (entry,) = (tmp_path / "cache").iterdir()
    for file in entry.iterdir():
        file.unlink()
    entry.rmdir()
    assert np.array_equal(Cache(tmp_path / "cache", SETTINGS).get(case).images, prepare(case, SETTINGS).images)


# Full disks, kills, and company


def test_no_space_left(case, tmp_path, monkeypatch):
    save = np.save
    written = []

    def fill(path, array, **options):
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, array, **options)

    monkeypatch.setattr(np, "save", fill)
    with pytest.raises(UserError, match="cannot write: the disk is full; free some space"):
        Cache(tmp_path / "cache", SETTINGS).get(case)
    assert entries(tmp_path / "cache") == set()
    monkeypatch.undo()
    assert Cache(tmp_path / "cache", SETTINGS).get(case).images.any()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_left_for_real(case, tmp_path, monkeypatch):
    save = np.save

    def fill(path, array, **options):
        path.symlink_to("/dev/full")
        save(path, array, **options)

    monkeypatch.setattr(np, "save", fill)
    with pytest.raises(UserError, match=r"cache.*: cannot write: .*disk is full"):
        Cache(tmp_path / "cache", SETTINGS).get(case)
    assert entries(tmp_path / "cache") == set()


def test_a_file_where_the_cache_should_be(case, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder should be"):
        Cache(tmp_path / "cache", SETTINGS).get(case)


DIE = """
import os, pickle, signal, sys
import numpy as np
cache, case = pickle.load(open(sys.argv[1], "rb"))
save, left = np.save, int(sys.argv[2])
def die(path, array, **options):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    save(path, array, **options)
np.save = die
cache.get(case)
"""


@pytest.mark.parametrize("after", [0, len(ARRAYS) - 1])
def test_a_process_killed_in_the_middle_leaves_no_entry(after, case, tmp_path):
    folder = tmp_path / "cache"
    (tmp_path / "task").write_bytes(pickle.dumps((Cache(folder, SETTINGS), case)))
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path / "task"), str(after)])
    assert done.returncode == -signal.SIGKILL
    assert len(entries(folder)) == 1 and all(name.startswith(WRITING) for name in entries(folder))
    assert np.array_equal(Cache(folder, SETTINGS).get(case).images, prepare(case, SETTINGS).images)


PROGRAM = """
import pickle, sys
from multifocal.pipeline.cache import Cache
cache, case = pickle.load(open(sys.argv[1], "rb"))
print("ready", flush=True)
sys.stdin.readline()
print(f"{cache.get(case).images.sum():.3f}")
"""


def test_processes_at_once_leave_one_valid_entry(case, tmp_path):
    cache = Cache(tmp_path / "cache", SETTINGS)
    (tmp_path / "task").write_bytes(pickle.dumps((cache, case)))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "task")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 2
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    expected = f"{prepare(case, SETTINGS).images.sum():.3f}\n"
    assert [child.communicate()[0] for child in children] == [expected] * 2
    assert len(entries(tmp_path / "cache")) == 1


def test_whoever_comes_second_takes_the_entry_of_the_first(case, tmp_path, monkeypatch):
    """The race, step by step: the other one's entry appears after this one has looked for it."""
    folder = tmp_path / "cache"

    def slow(case, settings, **options):
        monkeypatch.undo()
        Cache(folder, SETTINGS).get(replace(case, name="first"))
        return prepare(case, settings, **options)

    monkeypatch.setattr(module, "prepare", slow)
    found = Cache(folder, SETTINGS).get(case)
    assert len(entries(folder)) == 1
    assert np.array_equal(found.images, prepare(case, SETTINGS).images)
