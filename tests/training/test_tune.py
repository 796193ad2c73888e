"""Runs whose way from a probability to a mask is chosen: at the end of training, or afterwards."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from multifocal import recipes
from multifocal.cli import run as command
from multifocal.cohorts import Fold, ImageFile
from multifocal.cohorts.seen import read_seen
from multifocal.errors import UserError
from multifocal.files import WRITING
from multifocal.metrics import evaluate_case
from multifocal.systems import Tuning, load_model
from multifocal.systems.calibration import OddsCounts, calibrate
from multifocal.systems.loading import seen_in
from multifocal.systems.tuning import TUNED, read_tuned
from multifocal.training import choose_split, fit, tune_run
from multifocal.volumes import Volume, write

TUNE = "inference.tune={threshold: [0.2, 0.4, 0.6], min_size_voxels: [0, 4]}"


def said(text: str) -> int:
    with pytest.raises(SystemExit) as left:
        command(text.split())
    return left.value.code or 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_choice_is_made_on_the_validation_cases_with_the_best_weights(train, cohort):
    run = train(TUNE)
    names = [case.name for case in cohort][4:]
    found = read_tuned(run)
    assert found.cases == tuple(names) and len(found.points) == 6
    # The weights are those that a run without tuning ends with, and so are the masks but for what was chosen.
    plain = train(out="plain")
    assert (run / "weights.safetensors").read_bytes() == (plain / "weights.safetensors").read_bytes()
    untuned, means = load_model(plain, device="cpu"), {}
    for point in found.points:
        options = tuple(f"inference.{name}={value}" for name, value in point.settings.items())
        model = load_model(plain, overrides=options, device="cpu")
        masks = {name: model.predict(cohort.case(name)).mask for name in names}
        scores = [
            evaluate_case(mask.array, cohort.case(name).label.read().array > 0, spacing=mask.geometry.spacing)["dice"]
            for name, mask in masks.items()
        ]
        means[tuple(point.settings.items())] = np.nanmean(scores)
        assert point.means["dice"] == pytest.approx(np.nanmean(scores), rel=1e-12)
    assert means[tuple(found.choice.items())] == max(means.values())
    assert untuned.tuned is None and untuned.recipe.inference.threshold == 0.5


def test_predictions_take_the_choice_and_what_is_said_takes_its_place(train, cohort):
    run = train(TUNE)
    chosen = read_tuned(run)
    model = load_model(run, device="cpu")
    taken = model.recipe.inference
    assert {name: getattr(taken, name) for name in chosen.choice} == chosen.choice and model.tuned == chosen
    asked = load_model(run, overrides=("inference.threshold=0.9",), device="cpu").recipe.inference
    assert (asked.threshold, asked.min_size_voxels) == (0.9, chosen.choice["min_size_voxels"])
    assert recipes.load(run / "recipe.yaml").inference.threshold == 0.5  # what was asked stays written down
    case = cohort.cases[1]
    (run / TUNED).rename(run / "kept")
    with pytest.raises(UserError, match="training is not finished"):
        load_model(run, device="cpu")
    (run / "kept").rename(run / TUNED)
    found = model.predict(case)
    assert np.array_equal(found.mask.array, found.probability.array >= taken.threshold) or taken.min_size_voxels
    with pytest.raises(UserError, match="tuning ends training"):
        load_model(run, overrides=("inference.tune=null",), device="cpu")


def test_a_run_that_was_killed_before_it_was_tuned_goes_on(train, monkeypatch, tmp_path):
    whole = train(TUNE, out="whole")

    def killed(*given, **options):
        (tmp_path / "run" / f"{WRITING}half").mkdir()  # what SIGKILL leaves
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multifocal.training.tune.predict_cohort", killed)
        with pytest.raises(KeyboardInterrupt):
            train(TUNE)
    run = train(TUNE, resume=True)
    assert (run / TUNED).read_bytes() == (whole / TUNED).read_bytes()
    assert (run / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert not list(run.glob(f"{WRITING}*"))
    before = contents(run)
    assert train(TUNE, resume=True) == run and contents(run) == before


def test_another_tuning_is_another_run(train):
    train(TUNE)
    with pytest.raises(UserError, match="begun with other settings"):
        train("inference.tune={threshold: [0.5]}", resume=True)


def test_without_validation_cases_there_is_nothing_to_go_by(train, cohort, small_recipe):
    with pytest.raises(UserError, match="is tuned on validation cases, and there are none"):
        train(TUNE, "training.monitor=null", validation=0)
    recipe = recipes.load(small_recipe, overrides=[TUNE, "training.monitor=null"])
    assert choose_split(cohort, recipe).validation
    with pytest.raises(UserError, match="is tuned on another one"):
        choose_split(cohort.subset([cohort.cases[0].name]), recipe)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, small_recipe, small_cohort):
    """A run of two epochs without tuning, and its split."""
    from multifocal.cohorts import open_cohort

    cohort = open_cohort(small_cohort)
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:3], validation=names[3:5], test=names[5:])
    out = tmp_path_factory.mktemp("plain") / "run"
    fit(recipes.load(small_recipe, overrides=["training.epochs=2"]), cohort, split=split, out=out, progress=False)
    return out


@pytest.fixture
def run(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "run")


def test_the_command_tunes_on_what_the_run_validated_on(run, cohort, small_cohort, tmp_path, capsys):
    text = f"tune {run} {small_cohort} --threshold 0.2,0.5,0.8 --hysteresis null,0.1 --largest-only --device cpu"
    assert said(text) == 0
    found = read_tuned(run)
    names = [case.name for case in cohort]
    assert (found.cohort, found.cases) == (cohort.name, tuple(names[3:5])) and len(found.points) == 3 * 2 * 2
    assert "no longer tell" in capsys.readouterr().out
    assert said(f"tune {run} {small_cohort} --threshold 0.5") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert said(f"tune {run} {small_cohort} --threshold 0.5 --metric nsd --metric f1 --overwrite --device cpu") == 0
    assert read_tuned(run).tune.metric == ("nsd", "f1")
    assert said(f"predict {run} {small_cohort} --out {tmp_path / 'masks'} --device cpu") == 0
    assert "tuned: threshold 0.5 (chosen on 2 cases by nsd and f1)" in capsys.readouterr().err
    assert read_seen(tmp_path / "masks")[names[3]] == "validation"


def test_cases_that_a_run_was_tuned_on_are_marked(run, cohort, small_cohort, tmp_path, capsys):
    name = cohort.cases[5].name  # which the run has not seen
    tune_run(run, recipes.load(run / "recipe.yaml"), cohort.subset([name]), Tuning(threshold=(0.4,)), device="cpu")
    for seen in (seen_in(run), load_model(run, device="cpu").seen):
        assert seen.among(cohort)[name] == "tuned"
    assert said(f"predict {run} {small_cohort} --out {tmp_path / 'masks'} --device cpu") == 0
    assert read_seen(tmp_path / "masks")[name] == "tuned"
    assert "3 trained on, 2 validated on, 1 tuned on" in capsys.readouterr().err.replace("\n", " ")
    assert said(f"evaluate {tmp_path / 'masks'} {small_cohort} --out {tmp_path / 'scores'}") == 0
    assert "1 tuned on" in capsys.readouterr().out


def test_cases_that_were_trained_on_are_refused(run, cohort):
    recipe = recipes.load(run / "recipe.yaml")
    with pytest.raises(UserError, match=f"was trained on {cohort.cases[0].name}"):
        tune_run(run, recipe, cohort, Tuning(threshold=(0.4,)), device="cpu")
    assert not (run / TUNED).exists() and not list(run.glob(f"{WRITING}*"))


def test_labels_are_looked_at_before_anything_is_predicted(run, cohort, tmp_path):
    recipe, case = recipes.load(run / "recipe.yaml"), cohort.cases[4]
    label = case.label.read()
    write(tmp_path / "label.mha", Volume(label.array * 7, label.geometry))
    for file, message in ((None, "has no label to tune by"), (ImageFile(tmp_path / "label.mha"), "7")):
        changed = replace(cohort, cases=(replace(case, label=file),))
        with pytest.raises(UserError, match=message):
            tune_run(run, recipe, changed, Tuning(threshold=(0.4,)), device="cpu")
    assert not (run / TUNED).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--metric dicee --threshold 0.5", "dicee"),
        ("--threshold 0.5,x", "tune.threshold"),
        ("", "nothing to choose"),
        ("--hysteresis 0.9", "above the threshold in every combination"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(run, small_cohort, capsys, text, message):
    before = contents(run)
    assert said(f"tune {run} {small_cohort} {text} --device cpu") == 2
    error = capsys.readouterr().err
    assert message in error.replace("tune: threshold", "tune.threshold") and contents(run) == before


def test_what_is_no_run(tmp_path, small_cohort, capsys):
    assert said(f"tune {tmp_path} {small_cohort} --threshold 0.5") == 2
    assert "is not a run folder" in capsys.readouterr().err
    (tmp_path / "study.yaml").write_text("")
    assert said(f"tune {tmp_path} {small_cohort} --threshold 0.5") == 2
    assert "is a study; say tune in its study.yaml" in capsys.readouterr().err


def test_a_temperature_is_that_of_the_validation_cases(run, cohort):
    names = [case.name for case in cohort][3:5]
    model = load_model(run, device="cpu")
    p, y = [], []
    for name in names:
        inside = cohort.case(name).images["adc"].read().array != 0
        p.append(model.predict(cohort.case(name)).probability.array[inside])
        y.append(cohort.case(name).label.read().array[inside] > 0)
    expected = calibrate(OddsCounts.of(np.concatenate(p), np.concatenate(y))).temperature
    tuning = Tuning(calibration="temperature")
    tune_run(run, recipes.load(run / "recipe.yaml"), cohort.subset(names), tuning, device="cpu")
    tuned = load_model(run, device="cpu")
    assert tuned.recipe.inference.temperature == pytest.approx(expected, rel=1e-3)
    q = tuned.predict(cohort.case(names[0])).probability.array
    raw = model.predict(cohort.case(names[0])).probability.array.astype(float)
    odds = (raw / (1 - raw)) ** (1 / tuned.recipe.inference.temperature)
    np.testing.assert_allclose(q, odds / (1 + odds), rtol=1e-4)


def ensemble(tmp_path, members, **combine):
    file = tmp_path / "both.yaml"
    says = {"kind": "ensemble", "name": "both", "description": "", "source": "tests", "members": members}
    file.write_text(yaml.safe_dump({**says, "combine": {"rule": "mean", **combine}}))
    return recipes.load(file)


def test_an_ensemble_is_tuned_as_one(tmp_path, cohort, small_recipe):
    members = [{"recipe": str(small_recipe), "set": {"training": {"epochs": 1, "seed": seed}}} for seed in (0, 1)]
    members[1]["set"]["inference"] = {"tune": {"calibration": "temperature"}}
    recipe = ensemble(tmp_path, members, tune={"threshold": [0.3, 0.5], "min_size_voxels": [0, 3]})
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=names[4:], test=())
    run = tmp_path / "run"
    fit(recipe, cohort, split=split, out=run, progress=False, device="cpu")
    found, member = read_tuned(run), read_tuned(run / "members/1")
    assert found.cases == names[4:] and len(found.points) == 4 and read_tuned(run / "members/0") is None
    model = load_model(run, device="cpu")
    assert model.recipe.combine.threshold == found.choice["threshold"]
    assert model.members[1].recipe.inference.temperature == member.calibration.temperature
    # The means are those of the masks that the ensemble predicts.
    plain = load_model(run, overrides=("combine.threshold=0.3", "combine.min_size_voxels=3"), device="cpu")
    dice = []
    for name in names[4:]:
        mask = plain.predict(cohort.case(name)).mask
        label = cohort.case(name).label.read().array > 0
        dice.append(evaluate_case(mask.array, label, spacing=mask.geometry.spacing)["dice"])
    assert found.points[1].means["dice"] == pytest.approx(np.mean(dice), rel=1e-12)
    (run / "members/1" / TUNED).unlink()
    with pytest.raises(UserError, match="training is not finished"):
        load_model(run, device="cpu")


def test_an_ensemble_is_not_tuned_on_what_a_member_was_trained_on(run, tmp_path, cohort, small_recipe):
    members = [{"run": str(run)}, {"recipe": str(small_recipe), "set": {"training": {"epochs": 1}}}]
    recipe = ensemble(tmp_path, members, tune={"threshold": [0.3, 0.5]})
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[3:], validation=names[:2], test=())
    with pytest.raises(UserError, match=f"was trained on {names[0]}, which combine.tune would go by"):
        fit(recipe, cohort, split=split, out=tmp_path / "both", progress=False, device="cpu")
    assert not (tmp_path / "both" / "members" / "1" / "log.csv").exists()


def test_an_ensemble_that_trains_nothing_has_nothing_to_go_by(tmp_path):
    with pytest.raises(UserError, match="no member is trained here"):
        ensemble(tmp_path, [{"run": "a"}, {"run": "b"}], tune={"threshold": [0.3, 0.5]})


def test_masks_alone_cannot_be_tuned(run, cohort, small_recipe, tmp_path):
    says = {"kind": "ensemble", "name": "vote", "members": [{"run": str(run)}, {"run": str(run)}]}
    recipe = recipes.parse({**says, "combine": {"rule": "vote"}}, where="vote.yaml")
    with pytest.raises(UserError, match="makes masks without a probability"):
        tune_run(tmp_path, recipe, cohort, Tuning(threshold=(0.5,)))
