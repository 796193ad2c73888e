"""Ctrl-C: exit code 130, one line, and what was finished is kept."""

import os
import signal
import subprocess
import sys
import time

import children
import pytest

from multifocal.evaluation import cohort as scoring
from multifocal.systems.threshold import ThresholdSystem

LINE = "interrupted; what was finished is kept; run again to go on\n"
TRAIN = LINE.replace("again", "again with --resume")
PREDICT = LINE.replace("run again to go on", "--overwrite predicts all again")


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def interrupt(function, count):
    """Return a function that is interrupted at a call."""
    calls = 0

    def replacement(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == count:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return replacement


def test_a_training_that_is_interrupted_can_go_on(processes, cohort, small_recipe, tmp_path):
    def start(name, *more):
        arguments = ["train", small_recipe, cohort, "--out", tmp_path / name, "--cache", tmp_path / "cache"]
        arguments += ["--device", "cpu", "--set", "training.epochs=40", *more]
        given = ([str(argument) for argument in arguments], tmp_path / f"{name}-screen")
        process = processes.Process(target=children.command, args=given)
        process.start()
        return process

    start("whole").join()
    process = start("run")
    until((tmp_path / "run" / "resume.safetensors").exists)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    told = [line for line in (tmp_path / "run-screen.err").open() if not line.startswith("epoch ")]
    assert process.exitcode == 130 and told == [LINE.replace("again", "again with --resume")]
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert not list((tmp_path / "run").glob(".writing*"))
    process = start("run", "--resume")
    process.join()
    assert process.exitcode == 0
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "whole"))
    assert one == other


def test_ctrl_c_in_a_terminal(cohort, small_recipe, tmp_path):
    """A real process of its own, from the first import to the last line."""
    command = [sys.executable, "-m", "multifocal", "train", small_recipe, cohort, "--out", tmp_path / "run"]
    command += ["--device", "cpu", "--set", "training.epochs=100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until((tmp_path / "run" / "resume.safetensors").exists)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    *epochs, last = err.splitlines(keepends=True)
    assert process.returncode == 130 and last == TRAIN and all(line.startswith("epoch ") for line in epochs)
    assert out.startswith("small: ") and out.count("\n") == 1


@pytest.mark.parametrize("moment", ["prepare", "begin_run"])
def test_before_the_first_epoch(multifocal, cohort, small_recipe, tmp_path, monkeypatch, moment, listing):
    module = {"prepare": "multifocal.pipeline.cache", "begin_run": "multifocal.training.fit"}[moment]
    __import__(module)
    function = getattr(sys.modules[module], moment)
    train = ("train", small_recipe, cohort, "--out", tmp_path / "run", "--device", "cpu", "--set", "training.epochs=1")
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules[module], moment, interrupt(function, {"prepare": 3, "begin_run": 1}[moment]))
        ended = multifocal(*train)
    assert (ended.code, ended.err) == (130, TRAIN)
    assert all(name.startswith("cache/") and ".making" not in name for name in listing(tmp_path / "run"))
    assert multifocal(*train).code == 0


def test_predictions_that_are_finished_are_kept(multifocal, cohort, tmp_path, monkeypatch, listing):
    monkeypatch.setattr(ThresholdSystem, "predict", interrupt(ThresholdSystem.predict, 3))
    ended = multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "out")
    assert (ended.code, ended.out, ended.err) == (130, "", PREDICT)
    assert listing(tmp_path / "out") == ["S_0-VISIT_01_lesion.mha", "S_1-VISIT_01_lesion.mha"]


def test_an_evaluation_goes_on_where_it_was_interrupted(multifocal, cohort, tmp_path, monkeypatch, listing):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    evaluate = ("evaluate", tmp_path / "masks", cohort, "--out")
    whole = multifocal(*evaluate, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "_score", interrupt(scoring._score, 3))
        ended = multifocal(*evaluate, tmp_path / "out")
    assert (ended.code, ended.out, ended.err) == (130, "", LINE)
    assert listing(tmp_path / "out") == ["unfinished.jsonl"]
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "_score", interrupt(scoring._score, 5))  # only four are left
        ended = multifocal(*evaluate, tmp_path / "out")
    assert (ended.code, ended.err) == (0, "going on: 2 of 6 cases are scored already\n")
    assert ended.out.replace(str(tmp_path / "out"), "") == whole.out.replace(str(tmp_path / "whole"), "")
    assert listing(tmp_path / "out") == ["cases.csv", "lesions.csv", "summary.json"]
    for name in listing(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_kept_of_other_settings_is_told(multifocal, cohort, tmp_path, monkeypatch):
    multifocal("predict", "zadc-threshold", cohort, "--out", tmp_path / "masks")
    evaluate = ("evaluate", tmp_path / "masks", cohort, "--out", tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "_score", interrupt(scoring._score, 3))
        multifocal(*evaluate)
    ended = multifocal(*evaluate, "--tolerance", "1")
    rest = "2 kept cases are of other settings or files, and are not used"
    assert (ended.code, ended.err) == (0, f"going on: 0 of 6 cases are scored already; {rest}\n")
