"""Members of an ensemble that are trained several at a time."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import children
import pytest
import yaml

from multifocal import recipes
from multifocal.cohorts import Fold
from multifocal.errors import UserError
from multifocal.training import fit
from multifocal.training.members import train_members


@pytest.fixture
def ensemble(tmp_path, small_recipe):
    """Return the recipe of two seeds of the small one, with values replaced in both."""

    def ensemble(**settings):
        says = {"kind": "ensemble", "name": "two", "description": "", "source": "tests"}
        both = {"recipe": str(small_recipe), "set": {"training": {"epochs": 2}, **settings}, "seeds": [0, 1]}
        file = tmp_path / "two.yaml"
        file.write_text(yaml.safe_dump({**says, "members": both}))
        return file

    return ensemble


@pytest.fixture
def start(monkeypatch):
    """Processes that need not import the package again."""
    monkeypatch.setattr("multifocal.training.members.START", "fork")


def weights(run: Path) -> list[bytes]:
    return [(run / "members" / number / "weights.safetensors").read_bytes() for number in "01"]


def say(file: Path, lasts: float = 0.0, **how: object) -> None:
    with file.open("a") as written:
        written.write(f"{os.getpid()}\n")
    time.sleep(lasts)
    if how.get("error"):
        raise UserError("scan.mha: too dark; light it up")
    if how.get("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how.get("bug"):
        raise LookupError("nobody thought of it")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_two_at_a_time_are_two_processes(start, tmp_path):
    began = time.monotonic()
    files = [tmp_path / str(number) for number in range(3)]
    train_members({file.name: partial(say, file, 0.5) for file in files}, at_once=2)
    pids = {int(file.read_text()) for file in files}
    assert len(pids) == 3 and os.getpid() not in pids and time.monotonic() - began >= 1.0


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        (
            {"error": True},
            UserError,
            r"^b: scan\.mha: too dark; light it up \(the other members are kept, and --resume",
        ),
        ({"dies": True}, UserError, r"^b: its process was killed \(SIGKILL\), .*; train fewer members at a time"),
        ({"bug": True}, RuntimeError, "^b: its process failed"),
    ],
)
def test_one_that_fails_is_named_and_ends_the_others(start, tmp_path, how, error, message):
    first = tmp_path / "a"
    with pytest.raises(error, match=message):
        train_members({"a": partial(say, first, 60.0), "b": partial(say, tmp_path / "b", 0.5, **how)}, at_once=2)
    assert gone(int(first.read_text()))


def test_members_trained_at_a_time_are_those_trained_in_turn(start, ensemble, cohort, shared_cache, tmp_path):
    recipe, names = recipes.load(ensemble()), tuple(case.name for case in cohort)
    options = {"split": Fold(train=names[:4], validation=names[4:], test=()), "cache": shared_cache, "progress": False}
    for members in (1, 2):
        fit(recipe, cohort, out=tmp_path / str(members), members=members, device="cpu", **options)
    assert weights(tmp_path / "1") == weights(tmp_path / "2")
    assert (tmp_path / "1" / "validation.csv").read_bytes() == (tmp_path / "2" / "validation.csv").read_bytes()
    with pytest.raises(UserError, match="--members and --processes do not go together"):
        fit(recipe, cohort, out=tmp_path / "3", members=2, processes=2, device="cpu", **options)


@pytest.mark.parametrize("members", [1, 2])
def test_a_member_that_cannot_be_trained_is_named(start, ensemble, cohort, shared_cache, tmp_path, members):
    recipe, names = recipes.load(ensemble(optimizer={"lr": 1e30})), tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=names[4:], test=())
    with pytest.raises(
        UserError, match=r"^member [01] \(small\): .*\(the other members are kept, and --resume goes on"
    ):
        fit(recipe, cohort, split=split, out=tmp_path / "run", cache=shared_cache, members=members, progress=False)


@pytest.mark.slow
def test_killed_while_two_are_trained_and_resumed(processes, ensemble, small_cohort, shared_cache, tmp_path):
    recipe, tails = ensemble(), (["--members", "2"], ["--members", "2", "--resume"], [])
    outs = (tmp_path / "killed", tmp_path / "killed", tmp_path / "whole")
    dies = (("multifocal.training.members:connection.wait", 2), None, None)  # once both have begun, and one has ended
    for number, (out, tail, die) in enumerate(zip(outs, tails, dies, strict=True)):
        arguments = ["train", recipe, small_cohort, "--out", out, "--device", "cpu", "--cache", shared_cache, *tail]
        given = ([str(argument) for argument in arguments], tmp_path / f"screen{number}", die)
        process = processes.Process(target=children.command, args=given)
        process.start()
        process.join()
        assert process.exitcode == (-9 if die else 0), (tmp_path / f"screen{number}.err").read_text()
    lines = (tmp_path / "screen0.err").read_text() + (tmp_path / "screen1.err").read_text()
    assert "member 0 (small): epoch 1 of 2" in lines and "member 1 (small): epoch 2 of 2" in lines
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
