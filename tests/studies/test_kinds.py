"""A study of the kinds that are fitted in a way of their own, killed in the midst of each and gone on with.

Networks are in test_study.py, nnU-Net is in tests/systems/test_nnunet.py; a threshold or boxes are not fitted.
"""

import json
import os
import re
import signal
import time

import children
import pytest

from multifocal.files import read_json

VOXELS = {"kind": "voxels", "maps": ["zadc", "adc"], "map": "zadc", "below": -1.0, "above": 0.3, "others": None}
# Of each arm, what lies in its cell's folder when it is in the midst of its work.
MIDST = {
    "ensemble": "members/1/resume.safetensors",
    "cascade": "members/fold1",
    "voxelwise": "resume.safetensors",
}


@pytest.fixture
def study(small_recipe, tmp_path):
    """Write a study of an arm of each kind, of which one fold is run."""
    network = {"recipe": str(small_recipe), "set": {"training": {"epochs": 4}}}
    named = {"description": "", "source": "tests"}
    says = {
        "name": "kinds",
        "recipe": str(small_recipe),
        "arms": {
            "ensemble": {
                "recipe": {"kind": "ensemble", "name": "two", **named, "members": {**network, "seeds": [0, 1]}},
            },
            "cascade": {
                "recipe": {
                    "kind": "cascade", "name": "both", **named, "first": network, "folds": 2, "brain": "adc",
                    "second": VOXELS, "forest": {"trees": 5},
                },
            },
            "voxelwise": {
                "recipe": {
                    "kind": "voxelwise", "name": "where", **named, "brain": "adc", "map": "zadc", "spacing": 3.0,
                    "rounds": 3, "shared_steps": 20, "steps": 20,
                },
            },
        },
        "folds": {"scheme": "nested", "number": 3, "run": [0]},
    }  # fmt: skip
    (tmp_path / "kinds.yaml").write_text(json.dumps(says))
    return tmp_path / "kinds.yaml"


def contents(out):
    """Return what a study leaves, but for times."""
    kept = ("weights.safetensors", "*_lesion.mha", "cases.csv", "lesions.csv")
    return {path.relative_to(out).as_posix(): path.read_bytes() for name in kept for path in out.rglob(name)}


@pytest.mark.slow
@pytest.mark.timeout(1800)  # five starts of a study and of its cells, on a busy machine
def test_each_kind_goes_on_to_the_same_bytes(study, small_cohort, processes, tmp_path):
    def started(out):
        given = ["study", str(study), str(small_cohort), "--out", str(out), "--workers", "1"]
        process = processes.Process(target=children.command, args=(given, out.with_name(f"{out.name}-screen")))
        process.start()
        return process

    whole, out = tmp_path / "whole", tmp_path / "killed"
    process = started(whole)
    process.join()
    assert process.exitcode == 0, (tmp_path / "whole-screen.err").read_text()
    for arm, file in MIDST.items():
        cell = out / "cells" / arm / "fold0-seed0"
        process = started(out)
        while not (cell / file).exists():
            assert process.is_alive(), (tmp_path / "killed-screen.err").read_text()
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        pid = int(re.findall(r"process (\d+)", (cell / "cell.log").read_text())[-1])
        with pytest.raises(ProcessLookupError):  # the cell ends with the study that started it
            for _ in range(12_000):
                os.kill(pid, 0)
                time.sleep(0.005)
        assert not (cell / "cell.json").exists()
    process = started(out)
    process.join()
    assert process.exitcode == 0, (tmp_path / "killed-screen.err").read_text()
    assert all(read_json(path)["state"] == "done" for path in (out / "cells").rglob("cell.json"))
    assert contents(out) == contents(whole)
    assert sum(name.endswith("weights.safetensors") for name in contents(out)) == 2 + 4 + 1
