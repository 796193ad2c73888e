"""Folders that replace older ones all at once, or not at all."""

from pathlib import Path

import pytest

from multifocal.errors import UserError
from multifocal.files import WRITING
from multifocal.swap import swapped


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
