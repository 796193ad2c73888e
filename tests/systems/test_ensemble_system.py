"""Ensembles as systems: said in a recipe, trained, resumed, predicted, scored."""

import csv

import numpy as np
import pytest
import yaml

from multifocal import recipes
from multifocal.cohorts import Fold
from multifocal.errors import UserError
from multifocal.systems import build, load_model
from multifocal.training import fit
from multifocal.weights import read_weights, write_weights


@pytest.fixture
def say(tmp_path):
    """Write an ensemble's recipe and return its file."""

    def say(members, **options):
        file = tmp_path / "both.yaml"
        says = {"kind": "ensemble", "name": "both", "description": "", "source": "tests", "members": members}
        file.write_text(yaml.safe_dump({**says, **options}))
        return file

    return say


def thresholds(*values):
    return [{"recipe": "zadc-threshold", "set": {"below": value}} for value in values]


@pytest.fixture
def trained(say, cohort, small_recipe, tmp_path):
    """An ensemble of two networks, trained for an epoch each."""
    seeds = [{"recipe": str(small_recipe), "set": {"training": {"seed": seed, "epochs": 1}}} for seed in (0, 1)]
    recipe = recipes.load(say(seeds))
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=names[4:], test=())
    options = {"split": split, "out": tmp_path / "run", "progress": False, "device": "cpu"}
    assert fit(recipe, cohort, **options) == tmp_path / "run"
    return recipe, options


def test_a_vote_of_thresholds_needs_no_training(say, cohort, below):
    file = say(thresholds(-1.5, -2.0, -2.5), combine={"rule": "vote"})
    assert not recipes.load(file).needs_training
    case = cohort.cases[1]
    found = load_model(file).predict(case)
    assert np.array_equal(found.mask.array, below(case, -2.0)) and found.probability is None


def test_the_mean_of_two_networks(trained, cohort, tmp_path):
    case = cohort.cases[2]
    members = [load_model(tmp_path / "run" / "members" / number, device="cpu") for number in "01"]
    maps = [member.predict(case).probability.array for member in members]
    assert not np.array_equal(*maps)
    found = load_model(tmp_path / "run", device="cpu").predict(case)
    mean = np.mean(maps, axis=0, dtype=np.float64)
    assert np.allclose(found.probability.array, mean, atol=1e-7)
    assert np.array_equal(found.mask.array, mean >= 0.5)
    rows = list(csv.DictReader((tmp_path / "run" / "validation.csv").open()))
    assert [row["case"] for row in rows] == [case.name for case in cohort][4:]


def test_a_member_whose_weights_are_nan_is_no_vote_for_nothing(trained, cohort, tmp_path):
    file = tmp_path / "run" / "members" / "1" / "weights.safetensors"
    write_weights(file, {name: value.double().mul(np.nan).to(value) for name, value in read_weights(file).items()})
    with pytest.raises(UserError, match="answers with NaN or infinity"):
        load_model(tmp_path / "run", device="cpu").predict(cohort.cases[0])


def test_what_is_finished_is_not_trained_again(trained, cohort, tmp_path):
    recipe, options = trained
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    assert fit(recipe, cohort, **options, resume=True) == tmp_path / "run"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == whole
    kept = tmp_path / "run" / "members" / "0" / "weights.safetensors"
    before, lost = kept.stat().st_mtime_ns, tmp_path / "run" / "members" / "1" / "weights.safetensors"
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(UserError, match="training is not finished"):
        load_model(tmp_path / "run")
    fit(recipe, cohort, **options, resume=True)
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == content


def test_a_run_as_a_member(trained, say, cohort, tmp_path):
    file = say([{"run": "run/members/0"}, *thresholds(-2.0)], combine={"rule": "volume", "below_ml": 0.05})
    assert [type(member).__name__ for member in load_model(file).members] == ["NetworkSystem", "ThresholdSystem"]


def test_the_rule_may_change_after_training(trained, tmp_path):
    run = tmp_path / "run"
    assert load_model(run, overrides=("combine.threshold=0.3",)).recipe.combine.threshold == 0.3
    with pytest.raises(UserError, match=r"only combine\.… can change after training"):
        load_model(run, overrides=("members=[]",))


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        (thresholds(-2.0), {}, "at least 2 items"),
        ([*thresholds(-2.0), {}], {}, "a member is either a recipe or a run"),
        ([*thresholds(-2.0), "zadc"], {}, "unknown recipe 'zadc'"),
        (thresholds(-1.0, -2.0, -3.0), {"combine": {"rule": "volume"}}, "between 2 systems, not 3"),
        (thresholds(-1.0, -2.0), {"combine": {"rule": "vote", "at_least": 3}}, "at least 3 of 2"),
        (thresholds(-1.0, -2.0), {"combine": {"rule": "max"}}, "unknown rule 'max'"),
    ],
)
def test_what_no_ensemble_can_be(say, members, options, message):
    with pytest.raises(UserError, match=message):
        recipes.load(say(members, **options))


def test_probabilities_that_are_not_there(say):
    with pytest.raises(UserError, match="member zadc-threshold has no probabilities; combine by vote or volume"):
        build(recipes.load(say(thresholds(-1.0, -2.0))))


def test_a_studys_seeds_move_those_of_the_members(say, small_recipe):
    members = [{"recipe": str(small_recipe), "set": {"training": {"seed": seed}}} for seed in (0, 1)]
    data = recipes.load(say(members)).model_dump(mode="json")
    changed = recipes.recipe_class(data, where="").changed(data, {"training": {"epochs": 7}}, seed=2)
    trainings = [one.training for one in recipes.parse(changed, where="").trainings]
    assert [(one.seed, one.epochs) for one in trainings] == [(2000, 7), (2001, 7)]
