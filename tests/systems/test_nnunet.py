"""nnU-Net as a kind of system: a stand-in for its commands, and itself where `MULTIFOCAL_NNUNET` names it."""

import json
import os
import shutil
import signal
import stat
import sys

import numpy as np
import pytest

from multifocal import recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.errors import UserError
from multifocal.studies.probe import _shortened
from multifocal.systems import load_model, system_class
from multifocal.systems.nnunet import ENVIRONMENT, FITTED, HOME
from multifocal.systems.packages import check_packages
from multifocal.training import fit
from multifocal.volumes import read, write

NAME = "hie-nnunet-2023"
# Writes down how it is called, and leaves the files that nnU-Net leaves. Lesion is a first channel below 900.
STAND_IN = """#!{python}
import json, os, sys, pathlib
import numpy as np
import SimpleITK as sitk
command, given = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
variables = {{k: v for k, v in os.environ.items() if k.startswith(("nnUNet", "MULTIFOCAL_L", "CUDA_V"))}}
with open("{calls}", "a") as file:
    file.write(json.dumps([command, given, variables]) + "\\n")
if (pathlib.Path("{calls}").parent / f"fail-{{command}}").exists():
    print("Traceback\\nRuntimeError: no luck"); sys.exit(1)
dataset = "Dataset001_multifocal"
option = lambda name: given[given.index(name) + 1]
if command.endswith("preprocess"):
    (pathlib.Path(os.environ["nnUNet_preprocessed"]) / dataset).mkdir(parents=True)
if command.endswith("train"):
    model = pathlib.Path(os.environ["nnUNet_results"]) / dataset / f"{{option('-tr')}}__nnUNetPlans__{{given[1]}}"
    fold = model / f"fold_{{given[2]}}"
    fold.mkdir(parents=True)
    raw = pathlib.Path(os.environ["nnUNet_raw"]) / dataset / "dataset.json"
    (model / "dataset.json").write_text(raw.read_text())
    (fold / "training_log_1.txt").write_text("x: Epoch time: 2.5 s\\ny: Epoch time: 1.5 s\\n")
if command.endswith("modelfolder"):
    ending = json.loads((pathlib.Path(option("-m")) / "dataset.json").read_text())["file_ending"]
    image = sitk.ReadImage(option("-i") + "/case_0000" + ending)
    array = sitk.GetArrayFromImage(image)
    low = ((array > 0) & (array < 900)).astype(np.uint8)
    mask = sitk.GetImageFromArray(low)
    mask.CopyInformation(image)
    out = pathlib.Path(option("-o"))
    out.mkdir()
    sitk.WriteImage(mask, str(out / ("case" + ending)))
    lesion = 0.2 + 0.6 * low.astype(np.float32)
    np.savez_compressed(out / "case.npz", probabilities=np.stack([1 - lesion, lesion]))
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Commands that are called like nnU-Net's; returns how they were called."""
    programs, calls = tmp_path / "env" / "bin", tmp_path / "calls.jsonl"
    programs.mkdir(parents=True)
    calls.touch()
    for command in ("plan_and_preprocess", "train", "predict_from_modelfolder"):
        file = programs / f"nnUNetv2_{command}"
        file.write_text(STAND_IN.format(python=sys.executable, calls=calls))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    monkeypatch.setenv(ENVIRONMENT, str(programs.parent))
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()]


def trained(cohort, out, *changes, validation=1, resume=False):
    recipe = recipes.load(NAME, overrides=changes)
    names = [case.name for case in cohort]
    split = Fold(train=tuple(names[:3]), validation=tuple(names[4 : 4 + validation]), test=tuple(names[5:]))
    fit(recipe, cohort, split=split, out=out, resume=resume, device="cpu")
    return recipe, names


def test_a_run_is_planned_trained_and_predicts_on_the_cases_grid(small_cohort, tmp_path, install):
    cohort, run = open_cohort(small_cohort), tmp_path / "run"
    recipe, names = trained(cohort, run)
    (plan, _, variables), (train, given, _), (predict, *_) = install()
    assert (plan, train) == ("nnUNetv2_plan_and_preprocess", "nnUNetv2_train")
    assert predict == "nnUNetv2_predict_from_modelfolder"  # of the validation case
    assert " ".join(given) == "1 3d_fullres 0 -tr nnUNetTrainer -p nnUNetPlans --c -device cpu"
    assert variables["nnUNet_raw"] == str(run / HOME / "raw")
    assert "nnUNet_extTrainer" not in variables and "MULTIFOCAL_LENGTH" not in variables
    assert "1.0 1.0 1.0" in " ".join(install()[0][1])
    facts = system_class(recipe).facts(recipe, run)
    assert facts["epochs"] == 1000 and facts["step_ms"] == pytest.approx(8) and facts["seconds"] > 4
    assert (run / "validation.csv").read_text().count("\n") == 2
    assert not (run / HOME / "raw").exists() and not (run / HOME / "preprocessed").exists()
    model = load_model(run, device="cpu")
    assert model.seen.part(cohort.case(names[0]), cohort=cohort.name) == "train"
    case = cohort.case(names[3])  # which has other axes than those that were trained on
    found, adc = model.predict(case), case.images["adc"].read()
    expected = (adc.array > 0) & (adc.array < 900)
    assert expected.any() and np.array_equal(found.mask.array > 0, expected)
    assert np.array_equal(found.probability.array > 0.5, expected)
    assert not found.mask.geometry.differences(adc.geometry)


def test_images_stay_where_they_are_and_labels_are_0_and_1(small_cohort, tmp_path, install):
    cohort, run = open_cohort(small_cohort), tmp_path / "run"
    (tmp_path / "fail-nnUNetv2_train").touch()
    with pytest.raises(
        UserError, match=r"nnUNetv2_train ended with exit code 1 \(RuntimeError: no luck\); see .*train.log"
    ):
        trained(cohort, run)
    dataset = run / HOME / "raw" / "Dataset001_multifocal"
    said = json.loads((dataset / "dataset.json").read_text())
    names = [case.name for case in cohort]
    assert list(said["dataset"]) == [*names[:3], names[4]] and said["file_ending"] == ".mha"
    assert said["channel_names"] == {"0": "adc", "1": "zadc"}
    assert not (dataset / "imagesTr").exists()
    for name, entry in said["dataset"].items():
        case = cohort.case(name)
        assert entry["images"] == [str(case.images[map_].path.absolute()) for map_ in ("adc", "zadc")]
        assert np.array_equal(read(entry["label"]).array, case.label.read().array > 0)
    splits = run / HOME / "preprocessed" / "Dataset001_multifocal" / "splits_final.json"
    assert json.loads(splits.read_text()) == [{"train": names[:3], "val": [names[4]]}]
    # Resumed, it is not planned again.
    (tmp_path / "fail-nnUNetv2_train").unlink()
    trained(cohort, run, resume=True)
    commands = [command.removeprefix("nnUNetv2_") for command, *_ in install()]
    assert commands == ["plan_and_preprocess", "train", "train", "predict_from_modelfolder"]


def test_a_run_that_lost_its_results_is_named(small_cohort, tmp_path, install):
    trained(open_cohort(small_cohort), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / HOME / "results")
    with pytest.raises(UserError, match="holds 0 folds of nnU-Net, expected 1; copy the run again"):
        load_model(tmp_path / "run", device="cpu")


def test_an_nnunet_that_outlives_its_python_is_waited_for(small_cohort, tmp_path, install):
    cohort, run, programs = open_cohort(small_cohort), tmp_path / "run", tmp_path / "env" / "bin"
    (tmp_path / "fail-nnUNetv2_plan_and_preprocess").touch()
    with pytest.raises(UserError, match="no luck"):
        trained(cohort, run)
    # It leaves a process of its own behind, as it is left when the Python that started it is killed.
    program = programs / "nnUNetv2_plan_and_preprocess"
    program.write_text("#!/bin/sh\nsleep 60 > /dev/null 2>&1 &\necho $! > " + str(tmp_path / "pid") + "\nexit 1\n")
    with pytest.raises(UserError, match="ended with exit code 1"):
        trained(cohort, run, resume=True)
    pid = int((tmp_path / "pid").read_text())
    try:
        with pytest.raises(UserError, match="an nnU-Net is still at work there .* wait for it, or stop it"):
            trained(cohort, run, resume=True)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_plan_that_failed_is_made_again(small_cohort, tmp_path, install):
    cohort, run = open_cohort(small_cohort), tmp_path / "run"
    (tmp_path / "fail-nnUNetv2_plan_and_preprocess").touch()
    with pytest.raises(UserError, match="plan_and_preprocess ended with exit code 1"):
        trained(cohort, run)
    (tmp_path / "fail-nnUNetv2_plan_and_preprocess").unlink()
    recipe, _ = trained(cohort, run, resume=True)
    assert system_class(recipe).is_fitted(recipe, run) and (run / FITTED).is_file()


def test_formats_that_nnunet_does_not_read_alike_are_copied(small_cohort, tmp_path, install):
    from dataclasses import replace

    from multifocal.cohorts import ImageFile

    cohort, cases = open_cohort(small_cohort), []
    for case in cohort:
        write(tmp_path / "nii" / f"{case.name}.nii.gz", case.images["zadc"].read())
        cases.append(replace(case, images={**case.images, "zadc": ImageFile(tmp_path / "nii" / f"{case.name}.nii.gz")}))
    mixed, run = replace(cohort, cases=tuple(cases)), tmp_path / "run"
    (tmp_path / "fail-nnUNetv2_train").touch()
    with pytest.raises(UserError, match="no luck"):
        trained(mixed, run)
    said = json.loads((run / HOME / "raw" / "Dataset001_multifocal" / "dataset.json").read_text())
    adc, zadc = said["dataset"][mixed.cases[0].name]["images"]
    assert said["file_ending"] == ".nii.gz" and zadc == str(cases[0].images["zadc"].path)
    assert np.array_equal(read(adc).array, cases[0].images["adc"].read().array)


def test_a_loss_and_a_length_have_trainers_of_ours(small_cohort, tmp_path, install, monkeypatch):
    changes = ["loss={name: tversky, options: {alpha: 0.2, beta: 0.8}}", "epochs=3", "iterations=5", "mirroring=false"]
    trained(open_cohort(small_cohort), tmp_path / "run", *changes, validation=0)
    _, (_, given, variables) = install()
    assert given[2] == "all" and "nnUNetTrainerMultifocalLossLength" in given
    assert json.loads(variables["MULTIFOCAL_LENGTH"]) == {"epochs": 3, "iterations": 5, "validation_iterations": 50}
    assert variables["nnUNet_extTrainer"].endswith("trainers")
    from multifocal.nnunet import choose

    monkeypatch.setenv("MULTIFOCAL_LOSS", variables["MULTIFOCAL_LOSS"])
    chosen = choose(None, None)
    assert (chosen.name, chosen.options) == ("tversky", {"alpha": 0.2, "beta": 0.8})
    case = open_cohort(small_cohort).cases[5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    load_model(tmp_path / "run", device="cuda:1").predict(case)
    _, given, variables = install()[-1]
    assert variables["CUDA_VISIBLE_DEVICES"] == "7" and given[-2:] == ["-device", "cuda"]
    assert "--disable_tta" in given and given[given.index("-f") + 1] == "all"


@pytest.mark.parametrize(
    ("changes", "trainer"),
    [
        ([], "nnUNetTrainer"),
        (["epochs=5"], "nnUNetTrainerMultifocalLength"),
        (["loss={name: dice}"], "nnUNetTrainerMultifocal"),
        (["loss={name: dice}", "iterations=5"], "nnUNetTrainerMultifocalLossLength"),
    ],
)
def test_the_trainer_is_nnunets_own_as_far_as_it_can(changes, trainer):
    assert recipes.load(NAME, overrides=changes).trainer == trainer


def test_a_missing_environment_is_one_line_before_any_work(small_cohort, tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    with pytest.raises(UserError, match="has no nnUNetv2_train; `python -m venv nnunet-env` and .*MULTIFOCAL_NNUNET="):
        trained(open_cohort(small_cohort), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.delenv(ENVIRONMENT)
    monkeypatch.setattr("multifocal.systems.nnunet.sys.executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match="recipe hie-nnunet-2023 needs an environment with nnU-Net v2; .*pip install"):
        check_packages(recipes.load(NAME))


def test_an_environment_without_multifocal_is_named_where_it_is_needed(small_cohort, tmp_path, install):
    python = tmp_path / "env" / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(UserError, match="has nnU-Net, but not multifocal, .* install multifocal"):
        trained(open_cohort(small_cohort), tmp_path / "run", "epochs=2")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("channels=[adc, adc]", "name a map twice"),
        ("configuration=2d", "spacing is for 3d_fullres"),
        ("spacing=[1, 0, 1]", "spacing must be above 0"),
        ("loss={name: dise}", "unknown loss 'dise'; did you mean 'dice'"),
        ("epochs=0", "epochs"),
    ],
)
def test_what_a_recipe_may_say(override, message):
    with pytest.raises(UserError, match=message):
        recipes.load(NAME, overrides=[override])


def test_a_map_that_is_not_there_is_named(small_cohort, tmp_path, install):
    with pytest.raises(UserError, match="has no map 't2', which the recipe needs; it has adc, zadc"):
        trained(open_cohort(small_cohort), tmp_path / "run", "channels=[t2]")


def test_a_study_reckons_by_a_training_of_two_steps():
    recipe = recipes.load(NAME)
    assert recipe.fixed_steps == 250_000
    assert type(recipe).model_validate(_shortened(recipe.model_dump())).fixed_steps == 2


@pytest.mark.slow
@pytest.mark.skipif(ENVIRONMENT not in os.environ, reason=f"{ENVIRONMENT} names no nnU-Net")
@pytest.mark.parametrize("loss", ["null", "{name: blob-gdf}"])
def test_nnunet_itself(small_cohort, tmp_path, loss):
    changes = ["epochs=2", "iterations=2", "validation_iterations=1", "workers=1", "mirroring=false", "spacing=null"]
    cohort, run = open_cohort(small_cohort), tmp_path / "run"
    recipe, names = trained(cohort, run, *changes, f"loss={loss}", validation=0)
    facts = system_class(recipe).facts(recipe, run)
    assert facts["epochs"] == 2 and facts["step_ms"] > 0
    case = cohort.case(names[3])
    found = load_model(run, device="cpu").predict(case)
    assert not found.mask.geometry.differences(case.images["adc"].geometry())
    agreed = (found.probability.array >= 0.5) == (found.mask.array > 0)
    assert agreed[np.abs(found.probability.array - 0.5) > 1e-3].all()
