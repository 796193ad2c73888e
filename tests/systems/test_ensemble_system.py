"""Ensembles as systems: said in a recipe, trained, resumed, predicted, scored."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from multifocal import recipes, volumes
from multifocal.cohorts import Fold, Labels
from multifocal.cohorts import case as case_module
from multifocal.cohorts.seen import read_seen
from multifocal.errors import UserError
from multifocal.systems import build, join, load_model, predict_cohort
from multifocal.systems import network as network_module
from multifocal.systems.ensemble import EnsembleSystem
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


def test_models_together_are_cut_as_they_are_where_all_are_cut_alike(trained, tmp_path):
    runs = [tmp_path / "run/members" / number for number in "01"]

    def cut(run, **settings):
        says = yaml.safe_load((run / "recipe.yaml").read_text())
        says["inference"].update(settings)
        (run / "recipe.yaml").write_text(yaml.safe_dump(says))

    for run in runs:
        cut(run, threshold="dice", min_size_ml=0.02, temperature=2.0)
    combine = join(runs, device="cpu").recipe.combine
    assert (combine.rule, combine.threshold, combine.min_size_ml, combine.temperature) == ("mean", "dice", 0.02, 1.0)
    assert join(runs, overrides=["combine.threshold=0.3"], device="cpu").recipe.combine.threshold == 0.3
    assert join(runs, overrides=["combine.rule=vote"], device="cpu").recipe.combine.at_least is None
    assert join(runs, overrides=["combine.rule=geometric-mean"], device="cpu").recipe.combine.threshold == "dice"
    cut(runs[1], min_size_ml=0.05)
    combine = join(runs, device="cpu").recipe.combine
    assert (combine.threshold, combine.min_size_ml) == (0.5, 0.0)


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


@pytest.mark.parametrize("below", [0.0005, 0.2])
def test_the_burden_of_the_first_says_whose_prediction_is_taken(say, cohort, below):
    members, rule = thresholds(-2.0, -1.0), {"rule": "burden", "below": below, "brain": "adc"}
    system, seen = load_model(say(members, combine=rule)), set()
    for case in cohort:
        parts = [
            build(recipes.load("zadc-threshold", overrides=[f"below={one}"])).predict(case) for one in (-2.0, -1.0)
        ]
        brain = case.images["adc"].read().array != 0
        chosen = int(parts[0].mask.array.sum() < below * brain.sum())
        seen.add(chosen)
        assert np.array_equal(system.predict(case).mask.array, parts[chosen].mask.array)
    assert seen == {int(below > 0.1)}


def test_burden_splits_a_cohort(say, cohort):
    shares = sorted(
        (
            build(recipes.load("zadc-threshold")).predict(case).mask.array.sum()
            / (case.images["adc"].read().array != 0).sum()
        )
        for case in cohort
    )
    middle = float(shares[2] + shares[3]) / 2
    rule = {"rule": "burden", "below": middle, "brain": "adc"}
    system = load_model(say(thresholds(-2.0, -9.0), combine=rule))
    assert sorted(system.predict(case).mask.array.any() for case in cohort) == [False] * 3 + [True] * 3


def test_a_map_that_is_no_brain(say, cohort):
    system = load_model(say(thresholds(-2.0, -1.0), combine={"rule": "burden", "brain": "t1"}))
    with pytest.raises(UserError, match=r"has no map 't1', the brain of combine\.brain; it has adc, zadc"):
        system.predict(cohort.cases[0])


def test_members_of_one_recipe(say, small_recipe):
    seeds = recipes.load(say({"recipe": str(small_recipe), "set": {"training": {"epochs": 2}}, "seeds": [3, 5]}))
    assert [(one.training.seed, one.training.epochs) for one in seeds.trainings] == [(3, 2), (5, 2)]
    folds = recipes.load(say({"recipe": str(small_recipe), "folds": 3}))
    assert [member.fold for member in folds.members] == [(0, 3), (1, 3), (2, 3)]
    assert folds.monitor is None and seeds.monitor == "dice"
    assert recipes.parse(folds.model_dump(mode="json"), where="again") == folds
    assert len(recipes.load(say({"recipe": str(small_recipe), "folds": 3}), overrides=["members.folds=2"]).members) == 2
    forests = recipes.load(say({"recipe": "zadc-voxels", "set": {"forest": {"trees": 5}}, "seeds": [0, 2]}))
    held = [member.resolved().forest for member in forests.members]
    assert [(forest.seed, forest.trees) for forest in held] == [(0, 5), (2000, 5)]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"recipe": "hie-small"}, "need either seeds, a list, or folds"),
        ({"recipe": "hie-small", "seeds": [0, 1], "folds": 2}, "need either seeds, a list, or folds"),
        ({"recipe": "hie-small", "seeds": [1, 1]}, "names a seed twice"),
        ({"recipe": "hie-small", "seeds": 3}, "expected a list of at least 2 whole numbers, found 3"),
        ({"recipe": "hie-small", "folds": 1}, "expected a number of at least 2, found 1"),
        ({"recipe": "zadc-threshold", "folds": 2}, "this member is not trained here"),
        ({"recipe": "zadc-threshold", "seeds": [0, 1]}, "members.seeds: zadc-threshold has no seed"),
        ([{"recipe": "hie-small", "fold": [2, 2]}, "default"], r"fold=\[2, 2\] is none"),
    ],
)
def test_what_no_members_of_one_recipe_can_be(say, members, message):
    with pytest.raises(UserError, match=message):
        recipes.load(say(members))


def test_members_of_folds_train_on_the_others(say, cohort, small_recipe, tmp_path):
    recipe = recipes.load(say({"recipe": str(small_recipe), "set": {"training": {"epochs": 1}}, "folds": 2}))
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=(), test=names[4:])
    fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False, device="cpu")
    parts = [json.loads((tmp_path / "run" / "members" / one / "run.json").read_text())["parts"] for one in "01"]
    assert sorted(parts[0]["validation"] + parts[1]["validation"]) == list(names[:4])
    for part in parts:
        assert sorted(part["train"] + part["validation"]) == list(names[:4]) and part["test"] == list(names[4:])
    assert set(load_model(tmp_path / "run", device="cpu").seen.among(cohort)) == set(names[:4])


def test_what_each_member_finds_is_written_beside(trained, cohort, tmp_path):
    cases, out = cohort.subset([case.name for case in cohort][2:5:2]), tmp_path / "masks"
    model = load_model(tmp_path / "run", device="cpu")
    assert list(model.parts) == ["0-small", "1-small"] and list(model.predict(cases.cases[0]).parts) == [*model.parts]
    written = predict_cohort(model, cases, out, parts=True, probabilities=True)
    assert [path.parent for path in written] == [out] * 2
    for number in "01":
        alone = predict_cohort(
            load_model(tmp_path / "run" / "members" / number, device="cpu"),
            cases,
            tmp_path / number,
            probabilities=True,
        )
        for path in (path for path in tmp_path.joinpath(number).iterdir() if path.name != "seen.json"):
            assert (out / "parts" / f"{number}-small" / path.name).read_bytes() == path.read_bytes()
        assert len(alone) == 2 and read_seen(out / "parts" / f"{number}-small") == read_seen(tmp_path / number)
    assert read_seen(out) == {cases.cases[0].name: "train", cases.cases[1].name: "validation"}
    with pytest.raises(UserError, match="already holds 6 of the 6 files"):
        predict_cohort(load_model(tmp_path / "run", device="cpu"), cases, out, parts=True)
    with pytest.raises(UserError, match="recipe zadc-threshold is a system of one part; leave out --parts"):
        predict_cohort("zadc-threshold", cases, tmp_path / "none", parts=True)


def test_parts_have_names_of_folders(say, cohort):
    names = ["../up", "a b/c", "x" * 200]
    members = [{"recipe": "zadc-threshold", "set": {"name": name}} for name in names]
    parts = load_model(say(members, combine={"rule": "vote"})).parts
    assert list(parts) == ["0-..-up", "1-a-b-c", f"2-{'x' * 60}"]


def test_members_whose_classes_overlap_beside_ones_that_do_not(say, small_recipe):
    classes = {"whole": [2, 4], "core": [4]}
    apart = {"high": [2], "low": [4]}
    members = [
        {"recipe": str(small_recipe), "set": {"labels": {"classes": values, "overlap": overlap}}}
        for values, overlap in ((classes, True), (apart, False))
    ]
    with pytest.raises(UserError, match="the members have other labels than one another: set the same labels in all"):
        recipes.load(say(members))
    # Runs tell their labels only once they are loaded: here the same classes, that overlap and that do not.
    recipe = recipes.load(say(thresholds(-2.0, -1.0), combine={"rule": "vote"}))
    found = build(recipe).members
    labels = [Labels(classes={"a": (1,), "b": (2,)}, overlap=overlap) for overlap in (True, False)]
    told = [type("Told", (type(one),), {"labels": own})(one.recipe) for one, own in zip(found, labels, strict=True)]
    with pytest.raises(UserError, match="recipe both: its members predict different classes; choose those of the same"):
        EnsembleSystem(recipe, told)
    told[1].__class__.labels = labels[0]
    assert EnsembleSystem(recipe, told).labels == labels[0]


def test_members_share_reading_and_preparation(trained, say, cohort, tmp_path, monkeypatch):
    read, prepared = [], []
    monkeypatch.setattr(case_module, "read", lambda path, **how: read.append(path) or volumes.read(path, **how))
    inner = network_module.prepare
    monkeypatch.setattr(network_module, "prepare", lambda *args, **how: prepared.append(args) or inner(*args, **how))
    case = cohort.cases[2]
    load_model(tmp_path / "run", device="cpu").predict(case)
    assert len(prepared) == 1 and sorted(read) == sorted(file.path for file in case.images.values())
    members = [{"run": f"run/members/{number}"} for number in "01"] + thresholds(-2.0)
    mixed = load_model(say([*members, {"run": "run"}], combine={"rule": "vote"}), device="cpu")
    read.clear()
    found = mixed.predict(case)
    assert len(prepared) == 2 and len(read) == 2 and len(found.parts) == 4 and len(found.parts["3-both"].parts) == 2


def test_a_member_that_cannot_predict_is_named(trained, cohort, tmp_path):
    case = cohort.cases[0]
    lacking = replace(case, images={"adc": case.images["adc"]})
    with pytest.raises(UserError, match=r"^member 0 \(small\): case S_0-VISIT_01: has no map 'zadc'"):
        load_model(tmp_path / "run", device="cpu").predict(lacking)
