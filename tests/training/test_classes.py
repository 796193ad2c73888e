"""A network of several classes: trained, kept, predicted with and scored, class by class."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from multifocal import recipes
from multifocal.cohorts import Fold, Labels, open_cohort
from multifocal.errors import UserError
from multifocal.evaluation import evaluate_cohort
from multifocal.pipeline.dataset import as_target
from multifocal.systems import Tuner, Tuning, build, load_model, predict_cohort
from multifocal.systems.combination import ByVolume, Mean, combine_files
from multifocal.training import fit
from multifocal.volumes import Volume, read, write

APART = {"classes": {"low": 4, "high": [2, 3]}}
NESTED = {"classes": {"whole": [2, 4], "low": 4}, "overlap": True}


@pytest.fixture
def run(two_classes, small_recipe, tmp_path):
    def run(labels, *more, epochs=1, out="run"):
        overrides = [f"labels={json.dumps(labels)}", f"training.epochs={epochs}", *more]
        recipe = recipes.load(small_recipe, overrides=overrides)
        names = tuple(case.name for case in two_classes)
        split = Fold(train=names[:4], validation=names[4:], test=())
        fit(recipe, two_classes, split=split, out=tmp_path / out, progress=False)
        return tmp_path / out

    return run


@pytest.mark.parametrize("labels", [APART, NESTED])
def test_two_classes_from_training_to_scores(run, two_classes, tmp_path, log, labels):
    folder, names = run(labels, epochs=2), list(labels["classes"])
    for row in log(folder):
        parts = [float(row[f"val/dice/{name}"]) for name in names]
        assert float(row["val/dice"]) == pytest.approx(np.mean(parts), abs=1e-6)
    model = load_model(folder)
    prediction = model.predict(two_classes.cases[1])
    assert set(np.unique(prediction.mask.array)) <= {0, 2, 4}
    assert list(prediction.classes) == names
    predict_cohort(model, two_classes, tmp_path / "masks", probabilities=True)
    case = two_classes.cases[1].name
    for name in names:
        written = read(tmp_path / "masks" / f"{case}_probability-{name}.mha")
        assert np.array_equal(written.array, prediction.classes[name].array)
    scores = evaluate_cohort(tmp_path / "masks", two_classes, labels=labels["classes"])
    assert [row["label"] for row in scores.rows[:2]] == names


def test_a_network_learns_which_class_is_which(run, two_classes):
    """Two classes that one map tells apart: after some epochs each voxel of a lesion has the right one."""
    plain = ("training.monitor=null", "augmentation={}", "network.options={features: [4, 8], dropout: [0, 0]}")
    folder = run(APART, *plain, epochs=30)
    case = two_classes.cases[1]
    probability, label = load_model(folder).predict(case).classes, read(case.label.path).array
    low, high = (probability[name].array for name in ("low", "high"))
    assert low[label == 4].mean() > high[label == 4].mean()
    assert high[label == 2].mean() > low[label == 2].mean()


def test_a_resumed_run_of_classes_is_the_same(run):
    whole = run(APART, epochs=2, out="whole")
    part = run(APART, epochs=2, out="part")
    assert (whole / "weights.safetensors").read_bytes() == (part / "weights.safetensors").read_bytes()


def test_values_that_the_recipe_does_not_name(run):
    with pytest.raises(UserError, match=r"mask holds 4 .*expected only 0, 2; name the values"):
        run({"classes": {"high": 2}})


def test_starting_from_other_classes_says_which_tensor(run, tmp_path):
    run(APART, out="first")
    with pytest.raises(
        UserError, match=r"head.* has the shape \[3.* and \[2.* in this recipe's .* as many channels, classes"
    ):
        run(NESTED, f"training.start_from={tmp_path / 'first'}", out="second")


def test_targets_of_losses():
    codes = torch.tensor([0, 1, 2, 3, 255], dtype=torch.uint8).view(1, 1, 1, 5)
    apart = Labels(classes={"a": (5, 9), "b": (7,)}, ignore=1)
    target, ignored = as_target(codes, apart)
    assert target.flatten().tolist() == [0, 1, 1, 2, 0] and ignored.flatten().tolist() == [False] * 4 + [True]
    nested = Labels(classes={"a": (5, 9), "b": (9, 7)}, overlap=True)
    target, ignored = as_target(codes[..., :4], nested)
    assert target.flatten(2).tolist() == [[[0, 1, 1, 0], [0, 0, 1, 1]]] and ignored is None
    plain, ignored = as_target(codes[..., :2], Labels())
    assert plain.flatten().tolist() == [0, 1] and plain.dtype == torch.float32 and ignored is None


@pytest.mark.parametrize("labels", [{}, APART])
def test_what_is_predicted_where_it_is_ignored_does_not_matter(two_classes, small_recipe, tmp_path, log, labels):
    shutil.copytree(two_classes.root, tmp_path / "cohort")
    cohort = open_cohort(tmp_path / "cohort")
    for case in cohort:
        label = case.label.read()
        array = label.array if labels else label.array > 0
        array = np.where(np.arange(len(array))[:, None, None] < 6, 255, array).astype(np.uint8)
        write(case.label.path, Volume(array, label.geometry))
    names = tuple(case.name for case in cohort)
    overrides = [f"labels={json.dumps({**labels, 'ignore': 255})}", "training.epochs=1"]
    recipe = recipes.load(small_recipe, overrides=overrides)
    split = Fold(train=names[:4], validation=names[4:], test=())
    fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False)
    assert np.isfinite(float(log(tmp_path / "run")[0]["train/loss"]))
    predict_cohort(load_model(tmp_path / "run"), cohort, tmp_path / "masks")
    found = []
    for value in (0, 4 if labels else 1):
        for case in cohort:
            mask = read(tmp_path / "masks" / f"{case.name}_lesion.mha")
            mask.array[:6] = value
            write(tmp_path / "masks" / f"{case.name}_lesion.mha", mask)
        scores = evaluate_cohort(tmp_path / "masks", cohort, labels=labels.get("classes"), ignore=255)
        assert scores.settings["ignore"] == 255
        found.append(repr(scores.rows))
    assert found[0] == found[1]


def test_a_class_that_no_training_case_has(run):
    with pytest.raises(UserError, match=r"class bleed: no training case has a voxel of it \(value 7\); correct labels"):
        run({"classes": {"low": 4, "high": 2, "bleed": 7}})


def test_a_case_that_is_ignored_altogether(two_classes, small_recipe, tmp_path):
    shutil.copytree(two_classes.root, tmp_path / "cohort")
    cohort = open_cohort(tmp_path / "cohort")
    label = cohort.cases[1].label.read()
    write(cohort.cases[1].label.path, Volume(np.full_like(label.array, 255), label.geometry))
    recipe = recipes.load(small_recipe, overrides=[f"labels={json.dumps({**APART, 'ignore': 255})}"])
    split = Fold(train=tuple(case.name for case in cohort)[:4], validation=(cohort.cases[5].name,), test=())
    with pytest.raises(UserError, match=rf"case {cohort.cases[1].name}: all of its label is ignored \(255\)"):
        fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False)


def test_whatever_makes_a_mask_of_one_class_takes_its_value(run, two_classes, tmp_path):
    """The value of a class that is not 1: by a network, a mean, lesions by volume, and what was tuned."""
    labels, case = {"classes": {"any": [4, 2]}}, two_classes.cases[1]
    everywhere = "inference.threshold=0.001"
    folder = run(labels, everywhere)
    members = [{"run": str(folder)}, {"run": str(folder)}]
    for combine in ({"rule": "mean", "threshold": 0.001}, {"rule": "volume"}):
        says = {"kind": "ensemble", "name": "two", "members": members, "combine": combine}
        assert _values(build(recipes.parse(says, where="two.yaml")).predict(case)) == {0, 4}
    predict_cohort(load_model(folder), two_classes.subset([case.name]), tmp_path / "p", probabilities=True)
    (mask,), (map_,) = ([*(tmp_path / "p").glob(f"*_{kind}.mha")] for kind in ("lesion", "probability"))
    assert set(np.unique(read(mask).array)) == {0, 4}
    named = Labels.model_validate({"classes": {"any": (4, 2)}})
    for file, rule in ((map_, Mean(threshold=0.001)), (mask, ByVolume())):
        combine_files([file, file], tmp_path / "both.mha", rule=rule, labels=named)
        assert set(np.unique(read(tmp_path / "both.mha").array)) == {0, 4}
    tuning = Tuning(threshold=(0.001,))
    tuner = Tuner({case.name: map_}, replace(two_classes, labels=named), tuning, load_model(folder).recipe.postprocess)
    assert set(np.unique(tuner.mask(case.name, tuner.on([case.name])).array)) == {0, 4}


def _values(prediction):
    return set(np.unique(prediction.mask.array))


def test_an_ensemble_of_runs_writes_the_probability_of_each_class(run, two_classes, tmp_path):
    folder = str(run(APART))
    says = {"kind": "ensemble", "name": "two", "members": [{"run": folder}, {"run": folder}]}
    case = two_classes.cases[1].name
    predict_cohort(
        build(recipes.parse(says, where="two.yaml")), two_classes.subset([case]), tmp_path / "p", probabilities=True
    )
    alone = load_model(folder).predict(two_classes.cases[1])
    for name in APART["classes"]:
        written = read(tmp_path / "p" / f"{case}_probability-{name}.mha")
        assert np.allclose(written.array, alone.classes[name].array, atol=1e-6)
    assert np.array_equal(read(tmp_path / "p" / f"{case}_lesion.mha").array, alone.mask.array)
