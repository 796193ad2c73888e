"""A logistic regression a voxel: fitted on the small cohort, killed and resumed, predicted on scans' own grids."""

import shutil

import numpy as np
import pytest
import torch
import yaml

from multifocal import recipes
from multifocal.cohorts import Fold
from multifocal.errors import UserError
from multifocal.files import write_json
from multifocal.systems import load_model, predict_cohort
from multifocal.systems import voxelwise as module
from multifocal.training import choose_split, fit
from multifocal.volumes import read
from multifocal.weights import read_weights

SAYS = {
    "kind": "voxelwise",
    "name": "mine",
    "brain": "adc",
    "map": "zadc",
    "spacing": 3.0,
    "rounds": 2,
    "lesion_below": 900.0,
    "registration": {"affine_iterations": 5, "demons_iterations": 5},
    "shared_steps": 60,
    "steps": 20,
}
FILES = ("weights.safetensors", "template.json", "validation.csv")


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    """Return a fitted run, its recipe, and its cases."""
    recipe, names = recipes.parse(SAYS, where="mine.yaml"), tuple(case.name for case in cohort)
    options = {"split": Fold(train=names[:4], validation=names[4:], test=()), "progress": False, "device": "cpu"}
    out = tmp_path_factory.mktemp("voxelwise") / "run"
    assert fit(recipe, cohort, out=out, **options) == out / "weights.safetensors"
    return recipe, out, options


def test_it_finds_lesions_of_new_cases_on_their_own_grids(trained, cohort, tmp_path):
    files = predict_cohort(load_model(trained[1]), cohort, tmp_path, probabilities=True)
    for case, file in list(zip(cohort, files, strict=True))[4:]:
        mask, label = read(file), case.label.read()
        assert not mask.geometry.differences(label.geometry)
        found, true = mask.array > 0, label.array > 0
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.6
        probability = read(tmp_path / f"{case.name}_probability.mha").array
        assert np.array_equal(found, probability >= 0.5) and not probability[case.images["adc"].read().array == 0].any()


def test_low_values_are_lesion_and_where_they_lie_counts(trained):
    state = read_weights(trained[1] / "weights.safetensors")
    assert state["shared"][0] < -0.5 and state["shared"][1] < 0  # lesions are rare, and dark
    outside = state["brain"] == 0
    for name, shared in zip(("weight", "bias"), state["shared"], strict=True):
        assert (state[name][outside] == shared).all() and state[name][~outside].std() > 0


def test_a_ridge_of_any_weight_leaves_the_shared_one(trained, cohort, tmp_path):
    recipe = trained[0].model_copy(update={"ridge": 1e6, "rounds": 1})
    fit(recipe, cohort, out=tmp_path / "run", **trained[2])
    state = read_weights(tmp_path / "run" / "weights.safetensors")
    for name, shared in zip(("weight", "bias"), state["shared"], strict=True):
        assert (state[name] - shared).abs().max() < 0.05


def test_what_is_killed_between_rounds_goes_on_to_the_same_bytes(trained, cohort, tmp_path, monkeypatch):
    recipe, whole, options = trained
    calls, inner = [], module.register

    def register(*args, **how):
        calls.append(args)
        if len(calls) == 6:  # in the second round of four cases
            raise KeyboardInterrupt
        return inner(*args, **how)

    monkeypatch.setattr(module, "register", register)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, cohort, out=tmp_path / "run", **options)
    with pytest.raises(UserError, match="training is not finished"):
        load_model(tmp_path / "run")
    fit(recipe, cohort, out=tmp_path / "run", resume=True, **options)
    assert len(calls) == 6 + 4 + 2  # the second round again, and the validation cases
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    assert not (tmp_path / "run" / "resume.safetensors").exists()


def test_it_is_tuned_and_is_a_member_like_any_other(trained, cohort, tmp_path):
    recipe, whole, _ = trained
    assert load_model(whole, overrides=("inference.threshold=0.9",)).recipe.inference.threshold == 0.9
    tuned = recipes.parse({**SAYS, "rounds": 1, "inference": {"tune": {"threshold": [0.2, 0.6]}}}, where="mine.yaml")
    split = choose_split(cohort, tuned)
    assert split.validation
    fit(tuned, cohort, split=split, out=tmp_path / "run", progress=False, device="cpu")
    assert load_model(tmp_path / "run").recipe.inference.threshold in (0.2, 0.6)
    both = {"kind": "ensemble", "name": "two", "members": [{"run": str(whole)}, {"run": str(tmp_path / "run")}]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(both))
    ensemble, case = load_model(tmp_path / "two.yaml"), cohort.cases[5]
    parts = [part.probability.array for part in ensemble.predict(case).parts.values()]
    assert np.allclose(ensemble.predict(case).probability.array, np.mean(parts, axis=0))


def test_files_that_do_not_fit_are_refused(trained, tmp_path):
    run = shutil.copytree(trained[1], tmp_path / "run")
    size = list(torch.Size(read_weights(run / "weights.safetensors")["brain"].shape))
    grid = {"spacing": [3.0] * 3, "origin": [0.0] * 3, "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
    for said, message in (
        ({**grid, "size": [size[0] + 1, *size[1:]]}, "does not fit the grid of template.json"),
        ({**grid, "size": size, "spacing": [0.0] * 3}, "are not those of a template; train again"),
        ([], "are not those of a template; train again"),
    ):
        write_json(run / "template.json", said)
        with pytest.raises(UserError, match=message):
            load_model(run)


def test_a_case_that_cannot_be_registered_is_named(trained, cohort, monkeypatch):
    def register(*args, **how):
        raise UserError("two brains could not be registered (they do not overlap); check that both are brains")

    monkeypatch.setattr(module, "register", register)
    with pytest.raises(UserError, match="^case S_1-VISIT_01: two brains could not be registered"):
        load_model(trained[1]).predict(cohort.cases[1])


@pytest.mark.parametrize("name", ["hie-voxelwise-2023", "hie-voxelwise-cpu"])
def test_the_recipes_train_and_predict(trained, cohort, tmp_path, name):
    less = ("spacing=4", "rounds=2", "registration={affine_iterations: 2, demons_iterations: 2}")
    recipe = recipes.load(name, overrides=[*less, "shared_steps=40", "steps=10"])
    fit(recipe, cohort, out=tmp_path / "run", **trained[2])
    case = cohort.cases[5]
    found = load_model(tmp_path / "run").predict(case)
    assert found.mask.array.any() and not found.mask.geometry.differences(case.images["adc"].geometry())
