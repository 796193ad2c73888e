"""Cells in processes of this machine: how many, in what order, and how they end."""

import io
import json
import os
import shutil
import sys
import time
from types import SimpleNamespace

import pytest

from multifocal import studies
from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.studies import cell, local
from multifocal.studies.settings import Resources


@pytest.fixture
def run(study, small_cohort, tmp_path):
    """Run the small study; return the events, how its cells ended, and its folder."""

    def run(*, slots=("", ""), out=tmp_path / "study"):
        events = []
        with studies.open_study(study, open_cohort(small_cohort), out, engine="local") as plan:
            outcomes = studies.run_cells(
                plan,
                lambda jobs: studies.run_here(jobs, resources=study.resources, slots=slots),
                cohort=small_cohort,
                on_event=events.append,
            )
        return [event for event in events if event], outcomes, out

    return run


def test_cells_run_fold_by_fold_as_many_as_there_are_slots(run, fake_cells):
    fake_cells()
    events, outcomes, _ = run(slots=("", ""))
    running = most = 0
    for _, outcome in events:
        running += 1 if outcome is None else -1
        most = max(most, running)
    assert running == 0 and most == 2
    begun = [job.cell.name for job, outcome in events if outcome is None]
    assert begun == ["dice/fold0-seed0", "false/fold0-seed0", "dice/fold2-seed0", "false/fold2-seed0"]
    assert [outcome.state for outcome in outcomes] == ["done"] * 4


def test_one_that_fails_stops_no_other_and_says_why(run, fake_cells):
    fake_cells(dice0="killed", false0="error", dice2="bug", false2="silent")
    _, outcomes, out = run()
    errors = {f"{outcome.arm}{outcome.fold}": outcome.error for outcome in outcomes if outcome.state == "failed"}
    assert errors["dice0"].startswith(
        "killed by the system (SIGKILL), likely for want of memory: raise resources.memory"
    )
    assert errors["false0"] == "ended with exit code 1\nerror: scan.mha: is not an image; replace it"
    assert errors["dice2"].startswith("ended with exit code 1") and errors["dice2"].endswith("RuntimeError: a bug")
    assert errors["false2"].startswith("ended with exit code 0")
    on_disk = json.loads((out / "cells/dice/fold0-seed0/cell.json").read_text())
    assert on_disk["state"] == "failed" and on_disk["error"] == errors["dice0"]
    assert (out / "cells/dice/fold2-seed0/cell.log").read_text().startswith("started\n")


def test_what_failed_is_tried_again_and_nothing_else(run, fake_cells):
    fake_cells(dice0="killed")
    _, _, out = run()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*/cell.json") if "dice/fold0" not in str(path)}
    fake_cells()
    events, outcomes, _ = run()
    assert [outcome.state for outcome in outcomes] == ["done"] and len(kept) == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert run()[0] == []


def test_an_error_of_the_study_leaves_no_process_behind(study, cohort, small_cohort, fake_cells, tmp_path):
    fake_cells(dice0="hangs", false0="hangs")

    def interrupt(event):
        if len(list(tmp_path.glob("study/cells/*/*/hangs"))) == 2:
            raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan,
    ):
        engine = lambda jobs: studies.run_here(jobs, resources=study.resources, slots=["", ""])  # noqa: E731
        studies.run_cells(plan, engine, cohort=small_cohort, on_event=interrupt)
    for file in tmp_path.glob("study/cells/*/*/hangs"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_a_full_disk_loses_nothing(run, fake_cells, monkeypatch):
    def full(folder, outcome):
        raise UserError(f"{folder}: cannot write: the disk is full; free some space and run again")

    fake_cells(dice0="error")
    monkeypatch.setattr(cell, "write_outcome", full)
    _, outcomes, out = run()
    assert sorted(outcome.state for outcome in outcomes) == ["done", "done", "done", "failed"]
    assert not (out / "cells/dice/fold0-seed0/cell.json").exists()
    fake_cells()
    assert [outcome.state for outcome in run()[1]] == ["done"]


def test_a_folder_that_cannot_be_made_fails_one_cell_and_says_why(run, fake_cells, tmp_path):
    fake_cells()
    run()
    shutil.rmtree(tmp_path / "study/cells")
    folder = tmp_path / "study/cells/dice/fold0-seed0"
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    events, outcomes, _ = run(slots=("",))
    first, *others = outcomes
    assert first.state == "failed" and [outcome.state for outcome in others] == ["done"] * 3
    assert first.error.endswith("cannot write: a file stands where a folder should be; choose another folder")
    assert [outcome for _, outcome in events[:2]] == [None, first]


def test_a_process_that_is_killed_takes_its_own_with_it(study, cohort, small_cohort, fake_cells, tmp_path):
    fake_cells(dice0="hangs")
    with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
        events = studies.run_here(
            [job for job in studies.jobs(plan, cohort=small_cohort) if job.cell.name == "dice/fold0-seed0"],
            resources=study.resources,
            slots=[""],
        )
        next(events)
        file = tmp_path / "study/cells/dice/fold0-seed0/hangs"
        while not (file.exists() and file.read_text()):
            time.sleep(0.02)
        events.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_slots_follow_cores_memory_and_what_the_user_says(monkeypatch):
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "memory_gib", lambda: 15.6)
    assert local.slots(Resources(cpus=2, memory_gib=1), workers=None) == [""] * 4
    assert local.slots(Resources(cpus=1, memory_gib=4), workers=None) == [""] * 3
    assert local.slots(Resources(), workers=2) == [""] * 2
    with pytest.raises(UserError, match=r"needs 9 cores, 2 GiB and 0 GPUs; this machine has 8 cores .* short of cores"):
        local.slots(Resources(cpus=9), workers=None)
    with pytest.raises(UserError, match="short of memory"):
        local.slots(Resources(memory_gib=16), workers=None)


def test_cells_share_gpus(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "memory_gib", lambda: 64.0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local.slots(Resources(gpus=1), workers=None) == ["0", "1"]
    assert local.slots(Resources(gpus=0.5), workers=3) == ["0", "0", "1"]
    assert local.slots(Resources(gpus=0.5), workers=None, device="cuda:1") == ["1", "1"]
    with pytest.raises(UserError, match="device cuda:2: there is no such GPU, found 2"):
        local.slots(Resources(gpus=1), workers=None, device="cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="short of GPUs"):
        local.slots(Resources(gpus=0.5), workers=None)


@pytest.mark.parametrize("visible", ["2,3", "GPU-8a1f0c2e, MIG-77", "5,4,-1,0"])
def test_cells_keep_to_the_gpus_that_the_study_was_given(monkeypatch, visible):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # CUDA stops counting at a -1
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "memory_gib", lambda: 64.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    first, second = visible.replace(" ", "").split(",")[:2]
    assert local.slots(Resources(gpus=0.5), workers=None) == [first, first, second, second]
    assert local.environment(1, first)["CUDA_VISIBLE_DEVICES"] == first


def test_memory_is_in_mebibytes_on_every_system(monkeypatch, tmp_path):
    monkeypatch.setattr(cell, "Path", lambda path: tmp_path / "none")  # only Linux has /proc
    for system, peak in (("darwin", 3 * 2**20), ("linux", 3 * 2**10)):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(cell.resource, "getrusage", lambda who, peak=peak: SimpleNamespace(ru_maxrss=peak))
        assert cell.peak_mib() == 3


def test_this_machine_has_cores_and_memory():
    assert local.cores() >= 1 and 0.1 < local.memory_gib() < 1e5


def test_a_cell_says_in_a_line_that_it_wants_memory(monkeypatch, tmp_path, capsys):
    def want(job):
        raise MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000, 1000, 1000)")

    job = {"study": str(tmp_path), "cohort": ".", "layout": "auto", "arm": "a", "fold": 0, "seed": 0, "recipe": {}}
    told = json.dumps(job | {"fingerprint": "", "device": "cpu"}).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(told)))
    monkeypatch.setattr(cell, "_end_with_parent", lambda: None)
    monkeypatch.setattr(cell, "run", want)
    with pytest.raises(SystemExit, match="2"):
        cell.main()
    assert "error: out of memory: 7.45 GiB more were asked for than there is; lower" in capsys.readouterr().err
