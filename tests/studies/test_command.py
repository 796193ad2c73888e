"""`multifocal study`, `studies` and `ensemble` as users run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import children
import pytest
import yaml

from multifocal import studies


@pytest.fixture
def multifocal(processes, tmp_path):
    """Run a command in a process of its own; return its exit code and what it said."""

    def multifocal(*arguments, **options):
        screen = tmp_path / "screen"
        given = ([str(each) for each in arguments], screen)
        process = processes.Process(target=children.command, args=given, kwargs=options)
        process.start()
        process.join()
        return process.exitcode, screen.with_suffix(".out").read_text(), screen.with_suffix(".err").read_text()

    return multifocal


def test_a_dry_run_tells_the_cells_and_their_cost_and_leaves_nothing(multifocal, small_study, small_cohort, tmp_path):
    only = "arms={dice: {loss: {name: dice}}, z: {recipe: zadc-threshold}}"
    code, out, err = multifocal(
        "study", small_study, small_cohort, "--out", tmp_path / "study", "--dry-run", "--set", only, "--workers", "1"
    )
    assert (code, err) == (0, "")
    assert "small on small (6 cases): 4 cells = 2 arms × 2 folds × 1 seeds" in out
    assert "fold 2: 2 to train on, 2 to validate, 2 to test" in out
    step, predict, peak = map(float, re.search(r"^dice +([\d.]+) +([\d.]+) +([\d.]+) ", out, re.M).groups())
    assert step > 0 and predict > 0 and peak > 100
    assert "1 at once: about" in out and "resources.memory_gib is 0.5, but a cell held" in out
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_dry_run_measures_what_needs_several_cases_or_validation(multifocal, small_study, small_cohort, tmp_path):
    channels = "[{map: adc, zscore: brain}, {derive: lesion-frequency}]"
    changes = f"preprocessing: {{channels: {channels}}}, augmentation: {{paste: {{p: 1}}}}, schedule: {{name: plateau}}"
    arm = f"arms={{dice: {{{changes}}}}}"
    code, out, err = multifocal("study", small_study, small_cohort, "--out", tmp_path / "s", "--dry-run", "--set", arm)
    assert (code, err) == (0, "") and re.search(r"^dice +[\d.]+ ", out, re.M)


def test_a_dry_run_names_the_arm_that_cannot_be_trained(multifocal, small_study, small_cohort, tmp_path):
    wrong = "arms.dice.preprocessing.channels=[{map: flair}]"
    code, _, err = multifocal("study", small_study, small_cohort, "--out", tmp_path / "s", "--dry-run", "--set", wrong)
    assert code == 2 and re.match(r"error: arm dice: case S_\S+: has no map 'flair', which the recipe needs", err)


def test_a_study_with_a_failed_cell_tells_and_ends_with_1(multifocal, finished, small_study, small_cohort, tmp_path):
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    (out / "cells/dice/fold0-seed0/cell.json").unlink()
    (out / "cells/dice/fold0-seed0/weights.safetensors").write_bytes(b"not weights")
    code, said, err = multifocal("study", small_study, small_cohort, "--out", out)
    assert code == 1 and "small: 4 cells, 3 done, 1 to run" in said
    assert "failed: dice/fold0-seed0: ended with exit code 2" in err + said
    assert (
        "begun: dice/fold0-seed0\n" in said
        and re.search(r"train again.* \(\d+ s\)\n", err)
        and "\x1b" not in err + said
    )
    assert "weights.safetensors: is not a whole safetensors file" in err + said
    assert said.endswith("1 cells failed; run the same command again to try them again\n")
    found = studies.read_study(out)
    assert found.cells["dice/fold0-seed0"].state == "failed" and len(found.arms["dice"].rows) == 2
    assert "1/2" in said and "2/2" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "ray", "--workers", "2"), "--workers and --dry-run are about this machine"),
        (("--address", "head:6379"), "--address names a Ray cluster; add --engine ray"),
        (("--set", "resources.cpus=4096"), "a cell needs 4096 cores"),
        (("--device", "foo"), "error: device 'foo': choose from auto, cpu, cuda, cuda:N, mps\n"),
        (("--device", "cuda"), "the study's cells see no GPU (resources.gpus is 0); add --set resources.gpus=1\n"),
        (("--set", "folds.number=1"), "folds.number: Input should be greater than or equal to 2"),
    ],
)
def test_options_that_do_not_go_together_are_refused(multifocal, small_study, small_cohort, tmp_path, options, message):
    code, out, err = multifocal("study", small_study, small_cohort, "--out", tmp_path / "study", *options)
    assert code == 2 and out == "" and message in err and not (tmp_path / "study").exists()


def test_the_studies_are_listed(multifocal, tmp_path):
    code, out, _ = multifocal("studies")
    assert code == 0 and all(name in out for name in studies.names())
    code, out, _ = multifocal("studies", "hie-inputs")
    (tmp_path / "mine.yaml").write_text(out)
    assert code == 0 and studies.load(tmp_path / "mine.yaml") == studies.load("hie-inputs")


def test_systems_are_combined(multifocal, finished, tmp_path):
    arms = [finished / "arms" / arm / "masks" for arm in ("dice", "false")]
    code, out, err = multifocal("ensemble", *arms, "--out", tmp_path / "or", "--at-least", "1")
    assert (code, out, err) == (0, f"4 masks in {tmp_path / 'or'}\n", "")
    code, _, _ = multifocal("ensemble", *arms, "--out", tmp_path / "volume", "--how", "volume", "--below", "0.1")
    assert code == 0 and len(list((tmp_path / "volume").iterdir())) == 4
    code, _, err = multifocal("ensemble", *arms, "--out", tmp_path / "x", "--how", "volume", "--at-least", "1")
    assert (code, err) == (2, "error: --at-least means nothing with --how volume; leave it out\n")
    code, _, err = multifocal("ensemble", *arms, "--out", tmp_path / "or", "--at-least", "1")
    assert code == 2 and "already holds predictions" in err


@pytest.fixture
def without_extras(small_study, small_cohort, tmp_path, monkeypatch):
    """Run `multifocal study` where the packages that training needs are not installed."""
    missing = ("lightning", "pytorch_lightning", "monai", "tensorboard")
    paths = [str(tmp_path), str(Path(studies.__file__).parents[2])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def run(*options, missing=missing):
        (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({missing!r})\n")
        given = ["study", small_study, small_cohort, "--out", tmp_path / "study", "--workers", "1", *options]
        return subprocess.run([sys.executable, "-m", "multifocal", *given], capture_output=True, text=True)

    return run


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_what_training_needs_is_missed_before_the_first_cell(without_extras, tmp_path, options):
    ended = without_extras(*options)
    assert (ended.returncode, ended.stderr) == (2, "error: training needs lightning: pip install 'multifocal[train]'\n")
    assert not (tmp_path / "study" / "cells").exists()


def test_so_is_what_any_arm_needs(without_extras, tmp_path):
    arms = "arms={a: {loss: {name: dice}}, b: {training: {loggers: [mlflow]}}}"
    ended = without_extras("--set", arms, missing=("mlflow",))
    told = "error: training.loggers needs mlflow: pip install 'multifocal[mlflow]'\n"
    assert (ended.returncode, ended.stderr) == (2, told)
    assert not list((tmp_path / "study").glob("*.*"))


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_an_arm_without_training_needs_none_of_it(without_extras, tmp_path, options):
    ended = without_extras("--set", "arms={z: {recipe: zadc-threshold}}", "--set", "set={}", *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_dry_run_measures_a_cascade(multifocal, small_study, small_recipe, small_cohort, tmp_path):
    """Both kinds of first stage; a handful of cases need hold no candidate."""
    arms = {}
    for arm, first, map_ in (("network", str(small_recipe), None), ("threshold", "zadc-threshold", "zadc")):
        second = {"kind": "candidates", "maps": ["zadc"], "map": map_, "below": [-90.0] if map_ else []}
        second |= {} if map_ else {"above": [0.99]}
        says = {"kind": "cascade", "name": arm, "first": first, "brain": "adc", "second": second}
        (tmp_path / f"{arm}.yaml").write_text(json.dumps(says))
        arms[arm] = {"recipe": str(tmp_path / f"{arm}.yaml")}
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps({**yaml.safe_load(small_study.read_text()), "arms": arms, "set": {}}))
    code, out, err = multifocal("study", file, small_cohort, "--out", tmp_path / "s", "--dry-run")
    assert (code, err) == (0, "")
    assert float(re.search(r"^network +([\d.]+) ", out, re.M)[1]) > 0 and re.search(r"^threshold +0\.000 ", out, re.M)
