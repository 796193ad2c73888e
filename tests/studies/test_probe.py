"""What the cells of a study cost, measured on a handful of training cases and none to validate on."""

import json
import sys

import pytest

from multifocal import recipes, studies
from multifocal.cohorts import Fold, open_cohort
from multifocal.errors import UserError
from multifocal.studies.probe import _shortened, probe, seconds
from multifocal.training.fit import _check_split

TUNE = {"metric": "dice", "threshold": [0.4, 0.5]}
PLATEAU = {"schedule": {"name": "plateau"}}


@pytest.fixture(scope="module")
def names(small_cohort):
    return tuple(case.name for case in open_cohort(small_cohort))


@pytest.mark.parametrize("name", recipes.names())
def test_no_recipe_asks_for_validation_cases(name, small_cohort, names):
    recipe = recipes.load(name)
    short = recipe.model_validate(_shortened(recipe.model_dump()))
    _check_split(short, open_cohort(small_cohort), Fold(train=names[:2], validation=(), test=()))
    assert all(one.training.epochs == 1 and not one.training.patience for one in short.trainings)
    assert (short.kind, short.name) == (recipe.kind, recipe.name)


@pytest.mark.slow
def test_every_kind_is_measured_whatever_it_asks_of_validation_cases(small_recipe, small_cohort, tmp_path):
    tuned = {"recipe": str(small_recipe), "set": {"inference": {"tune": TUNE}, **PLATEAU}}
    denoise = {"training": {"denoise": {}, "monitor": None, "patience": None}}
    first = {"start_from": {"recipe": str(small_recipe), "set": denoise}}
    staged = {"recipe": str(small_recipe), "set": {"training": first}}
    second = {"kind": "voxels", "maps": ["zadc"], "above": 0.0}
    says = {
        "network": {"recipe": str(small_recipe), "inference": {"tune": TUNE}, **PLATEAU},
        "ensemble": {"members": [tuned, tuned], "combine": {"rule": "mean", "tune": TUNE}},
        "folds": {"members": {**tuned, "folds": 4}, "combine": {"rule": "mean", "tune": TUNE}},
        "cascade": {"first": tuned, "brain": "adc", "second": second, "inference": {"tune": TUNE}},
        "stages": {"members": [staged, staged]},
        "voxelwise": {"brain": "adc", "map": "zadc", "spacing": 4.0, "rounds": 1, "inference": {"tune": TUNE}},
    }
    arms = {"network": says.pop("network")}
    for arm, said in says.items():
        kind = "ensemble" if "members" in said else arm
        (tmp_path / f"{arm}.yaml").write_text(json.dumps({"kind": kind, "name": arm, **said}))
        arms[arm] = {"recipe": f"{arm}.yaml"}
    folds = {"scheme": "nested", "number": 3, "run": [0]}
    study = {"name": "kinds", "recipe": str(small_recipe), "arms": arms, "folds": folds}
    (tmp_path / "kinds.yaml").write_text(json.dumps(study))
    grid = studies.make_grid(studies.load(tmp_path / "kinds.yaml"), open_cohort(small_cohort))
    costs = probe(grid, cohort=small_cohort, layout="auto", device="cpu", progress=lambda arm: None)
    assert costs.keys() == arms.keys()
    assert all(cost.step_ms > 0 for arm, cost in costs.items() if arm != "voxelwise")
    assert [arm for arm, cost in costs.items() if cost.fit_s] == ["voxelwise"]
    assert seconds(grid, "voxelwise", costs["voxelwise"]) > costs["voxelwise"].fit_s


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (
            "raise UserError('scan.mha: too dark; light it up')",
            UserError,
            r"^arm dice: scan.mha: too dark; light it up$",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", UserError, r"^arm dice: killed by the system \(SIGKILL\), likely for"),
        (
            "{}['key']",
            RuntimeError,
            r"(?s)^arm dice: its measurement ended with exit code 1\nTrace.*KeyError: 'key'\n$",
        ),
    ],
)
def test_an_arm_that_cannot_be_measured_says_why(code, error, message, study, cohort, small_cohort, monkeypatch):
    script = (
        "import os, signal, sys; from multifocal.errors import UserError; from multifocal.studies import probe\n"
        f"def fail(job): {code}\nprobe._measure = fail; probe.main()"
    )
    monkeypatch.setattr("multifocal.studies.probe.command", lambda module: [sys.executable, "-c", script])
    with pytest.raises(error, match=message):
        probe(studies.make_grid(study, cohort), cohort=small_cohort, layout="auto", device="cpu", progress=str)
