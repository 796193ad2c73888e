"""A study as users run it: to its end, killed and gone on with, changed in between."""

import csv
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

from multifocal import studies
from multifocal.cohorts import Folds
from multifocal.files import read_json
from multifocal.weights import read_tree

CELLS = [f"{arm}/fold{fold}-seed0" for arm in ("dice", "false") for fold in (0, 2)]


def masks(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_lesion.mha")}


def log(cell):
    with (cell / "log.csv").open() as file:
        return [{**row, "seconds": "", "step_ms": ""} for row in csv.DictReader(file)]


def started(cell):
    return (cell / "cell.log").read_text().count(" started, process ")


def wait_for(condition, process):
    while not condition():
        assert process.is_alive()
        time.sleep(0.01)


def test_every_cell_is_a_run_with_the_masks_of_its_test_cases(finished):
    folds = Folds.load(finished / "folds.json")
    for name in CELLS:
        cell = finished / "cells" / name
        outcome = read_json(cell / "cell.json")
        assert outcome["state"] == "done" and outcome["error"] is None and outcome["epochs"] == 4
        assert 0 <= outcome["best_epoch"] < 4 and outcome["seconds"] > 0 and outcome["step_ms"] > 0
        assert 100 < outcome["peak_mib"] < 10_000
        tested = folds.folds[outcome["fold"]].test
        assert {path.name for path in (cell / "masks").iterdir()} == {f"{case}_lesion.mha" for case in tested}
        assert (cell / "weights.safetensors").exists() and len(log(cell)) == 4
        scores = [float(row["val/dice"]) for row in log(cell)]
        assert outcome["best_epoch"] == int(np.argmax(scores))


def test_arms_are_pooled_scored_and_compared(finished):
    folds = Folds.load(finished / "folds.json")
    tested = {case for fold in (0, 2) for case in folds.folds[fold].test}
    for arm in ("dice", "false"):
        pooled = masks(finished / "arms" / arm / "masks")
        assert set(pooled) == {f"{case}_lesion.mha" for case in tested}
        for fold in (0, 2):
            own = masks(finished / "cells" / arm / f"fold{fold}-seed0" / "masks")
            assert own.items() <= pooled.items()
        assert {"cases.csv", "lesions.csv", "summary.json"} < {
            path.name for path in (finished / "arms" / arm).iterdir()
        }
    assert read_json(finished / "comparison/comparison.json")["methods"] == ["dice", "false"]
    with (finished / "tables/arms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ["dice", "false"]
    assert {row["cells"] for row in rows} == {row["done"] for row in rows} == {"2"}
    assert (finished / "tables/tables.md").read_text().startswith("# small\n\n## Arms\n")


def test_the_folder_is_read_back(finished):
    found = studies.read_study(finished)
    assert list(found.cells) == CELLS and all(outcome.state == "done" for outcome in found.cells.values())
    assert list(found.arms) == ["dice", "false"] and len(found.arms["dice"].rows) == 4
    assert found.comparison["methods"] == ["dice", "false"] and found.study.folds.run == (0, 2)
    assert found.about["started"][0]["engine"] == "local" and found.about["cohort"]["cases"] == 6
    assert found.masks("false").is_dir() and found.cell(CELLS[0]).is_dir()
    assert studies.load(finished / "study.yaml") == found.study


def test_killed_in_the_middle_and_gone_on_with(start, finished, tmp_path):
    out = tmp_path / "study"
    process = start(out, "--workers", "1")
    first, second = out / "cells" / "dice/fold0-seed0", out / "cells" / "false/fold0-seed0"
    wait_for(lambda: (second / "resume.safetensors").exists(), process)
    pid = int(re.search(r"process (\d+)", (second / "cell.log").read_text())[1])
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    end = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):  # the cell ends with the study that started it
        while time.monotonic() < end:
            os.kill(pid, 0)
            time.sleep(0.01)
    assert not (second / "cell.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    epochs = read_tree(second / "resume.safetensors")["epoch"]

    process = start(out)
    process.join()
    assert process.exitcode == 0
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == kept
    assert epochs >= 0 and [started(out / "cells" / name) for name in CELLS] == [1, 1, 2, 1]
    assert masks(out) == masks(finished)
    for name in CELLS:
        assert log(out / "cells" / name) == log(finished / "cells" / name)
        weights = [folder / "cells" / name / "weights.safetensors" for folder in (out, finished)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    for arm in ("dice", "false"):
        assert (out / "arms" / arm / "cases.csv").read_bytes() == (finished / "arms" / arm / "cases.csv").read_bytes()
    assert len(read_json(out / "study.json")["started"]) == 2


def test_a_cell_killed_after_its_training_only_predicts(start, finished, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    cell = out / "cells" / CELLS[0]
    (cell / "cell.json").unlink()
    lost = next((cell / "masks").iterdir())
    lost.unlink()
    process = start(out)
    process.join()
    assert process.exitcode == 0 and masks(out) == masks(finished)
    assert log(cell) == log(finished / "cells" / CELLS[0])


def test_a_full_disk_fails_the_cell_and_loses_nothing(start, finished, tmp_path):
    out = tmp_path / "study"
    only = ("--set", "folds.run=[2]", "--set", "arms={dice: {loss: {name: dice}}}")
    process = start(out, *only, largest=8 * 1024)
    process.join()
    outcome = read_json(out / "cells/dice/fold2-seed0/cell.json")
    assert process.exitcode == 1 and outcome["state"] == "failed"
    assert re.search(r"error: \S+: cannot write: ", outcome["error"]), outcome["error"]
    process = start(out, *only)
    process.join()
    assert process.exitcode == 0
    assert masks(out / "cells/dice/fold2-seed0") == masks(finished / "cells/dice/fold2-seed0")
