"""A hundred kills and a hundred full disks, at random moments of training, prediction and scoring.

Nothing is half-written, and what goes on afterwards ends as if nothing had happened.
"""

import json
import random
import time

import children
import pytest

from multifocal.files import read_json
from multifocal.volumes import read
from multifocal.weights import read_tree

KILLED = -9
COUNT = 100
# Of the hundred, each command's share.
SHARES = {"train": 40, "predict": 30, "evaluate": 30}
# The least that a file may hold, as a power of ten: masks are small; elsewhere there is room for the line that says so.
LEAST = {"train": 1.5, "predict": 1.5, "evaluate": 2.7}


@pytest.fixture(scope="module")
def start(processes, small_cohort, small_recipe, tmp_path_factory):
    """Start one of the commands in a process of its own; return it and the file of its stderr."""
    cache = tmp_path_factory.mktemp("cache")

    def start(command, out, *, largest=None):
        masks = out.parent / "whole-predict"
        arguments = {
            "train": ["train", small_recipe, small_cohort, "--out", out, "--cache", cache, "--device", "cpu",
                      "--resume", "--set", "training.epochs=8"],
            "predict": ["predict", "zadc-threshold", small_cohort, "--out", out, "--overwrite"],
            "evaluate": ["evaluate", masks, small_cohort, "--out", out],
        }[command]  # fmt: skip
        given = ([str(argument) for argument in arguments], out.with_name(f"{out.name}-screen"), None, largest)
        process = processes.Process(target=children.command, args=given)
        process.start()
        return process, given[1].with_suffix(".err")

    return start


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """Where each command ran to its end, and how long that took."""
    folder, took = tmp_path_factory.mktemp("whole"), {}
    for command in SHARES:
        began = time.monotonic()
        process, err = start(command, folder / f"whole-{command}")
        process.join()
        took[command] = time.monotonic() - began
        assert process.exitcode == 0, err.read_text()
    return folder, took


def assert_nothing_is_half_written(out):
    for path in out.rglob("*") if out.exists() else ():
        if any(part.startswith(".") for part in path.relative_to(out).parts):
            continue  # what was being written; the next command clears it away
        if path.suffix in (".mha", ".gz"):
            read(path)
        elif path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".safetensors":
            read_tree(path) if path.name == "resume.safetensors" else path.stat()
        elif path.suffix == ".csv" and path.name != "log.csv":
            assert path.read_text().endswith("\n")


def contents(out):
    """Return what a command leaves, but for times of day and seconds."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.suffix in (".mha", ".gz") or name == "weights.safetensors" or name in ("cases.csv", "lesions.csv"):
            found[name] = path.read_bytes()
        if name == "summary.json":
            found[name] = json.dumps({key: value for key, value in read_json(path).items() if key == "overall"})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", SHARES)
def test_a_hundred_kills(start, whole, command):
    (folder, took), chance = whole, random.Random(command)
    reference, kills, round_ = contents(folder / f"whole-{command}"), 0, 0
    while kills < SHARES[command]:
        round_ += 1
        out = folder / f"killed-{command}-{round_}"
        for _ in range(SHARES[command]):
            process, err = start(command, out)
            process.join(chance.uniform(0.05, 1.0) * took[command])
            process.kill()
            process.join()
            assert_nothing_is_half_written(out)
            if process.exitcode != KILLED:
                break
            kills += 1
        else:
            process, err = start(command, out)
            process.join()
        # A kill may come when all is done.
        assert process.exitcode == 0 or "already holds an evaluation" in err.read_text(), err.read_text()
        assert contents(out) == reference
        assert not list(out.rglob(".writing*"))
    print(command, kills, "kills in", round_, "runs")


@pytest.mark.slow
@pytest.mark.parametrize("command", SHARES)
def test_a_hundred_full_disks(start, whole, command):
    (folder, _), chance = whole, random.Random(command)
    reference, failed = contents(folder / f"whole-{command}"), 0
    for number in range(SHARES[command]):
        out = folder / f"full-{command}-{number}"
        process, err = start(command, out, largest=int(10 ** chance.uniform(LEAST[command], 5.0)))
        process.join()
        said = err.read_text().splitlines()
        assert process.exitcode in (0, 2), said
        if process.exitcode:
            failed += 1
            assert said[-1].startswith("error: ") and "Traceback" not in err.read_text(), said
            assert_nothing_is_half_written(out)
            process, err = start(command, out)
            process.join()
        assert process.exitcode == 0, err.read_text()
        assert contents(out) == reference
    print(command, failed, "of", SHARES[command], "disks were full")
    assert failed
