"""Cascades: said in a recipe, fitted on out-of-fold probabilities alone, resumed, predicted, tuned, refused."""

import csv
import json
import shutil

import children
import numpy as np
import pytest
import yaml
from scipy import ndimage

from multifocal import recipes, versions
from multifocal.cohorts import Cohort, Fold, Folds, make_folds, open_cohort
from multifocal.errors import UserError
from multifocal.systems import load_model, predict_cohort, system_class
from multifocal.systems.candidates import Candidates, Voxels
from multifocal.systems.forest import Forest
from multifocal.systems.packages import check_packages
from multifocal.systems.scan import Scan
from multifocal.training import choose_split, fit
from multifocal.volumes import Volume, bounding_box, crop, orient, read, write

VOXELS = {"kind": "voxels", "maps": ["zadc", "adc"], "map": "zadc", "below": -1.0, "above": 0.3, "others": None}
SCALES = {
    "kind": "voxels", "maps": ["zadc", "adc"], "window": "scales", "map": "zadc", "below": -1.0, "levels": [-2.0],
    "others": None,
}  # fmt: skip
COMPONENTS = {"kind": "candidates", "maps": ["zadc", "adc"], "map": "zadc", "below": [-1.5, -2.0], "overlap": 0.5}
FOREST = {"trees": 5, "min_samples_leaf": 2}
KILLED = -9


@pytest.fixture(scope="session")
def say(tmp_path_factory):
    """Write a cascade's recipe into a folder of its own and return its file."""

    def say(first, second, **options):
        file = tmp_path_factory.mktemp("cascade") / "cascade.yaml"
        says = {"kind": "cascade", "name": "both", "source": "tests", "first": first, "brain": "adc", "second": second}
        file.write_text(yaml.safe_dump({"forest": FOREST, **says, **options}))
        return file

    return say


@pytest.fixture(scope="session")
def split(cohort):
    names = tuple(case.name for case in cohort)
    return Fold(train=names[:4], validation=names[4:], test=())


@pytest.fixture(scope="session")
def network(small_recipe):
    return {"recipe": str(small_recipe), "set": {"training": {"epochs": 1, "seed": 3}}}


@pytest.fixture(scope="session")
def recipe(say, network):
    return recipes.load(say(network, VOXELS, folds=2, inference={"tune": {"metric": "dice", "threshold": [0.3, 0.6]}}))


@pytest.fixture(scope="session")
def run(recipe, cohort, split, tmp_path_factory):
    """A network of an epoch, and a forest on voxels."""
    out = tmp_path_factory.mktemp("cascade-run") / "run"
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu")
    return out


def scan_by_hand(case, probability):
    """What the second stage sees: everything cut to the brain and two voxels around it, in the order L, P, S."""
    maps = {name: orient(case.images[name].read()) for name in ("zadc", "adc")}
    inside = maps["adc"].array != 0
    lower, upper = (np.array(side) for side in bounding_box(inside))
    lower, upper = np.maximum(lower - 2, 0), np.minimum(upper + 2, inside.shape)

    def cut(volume):
        return crop(volume, lower=lower, upper=upper)

    whole = {name: cut(volume).array.astype(np.float32) for name, volume in maps.items()}
    return Scan(case.name, whole, cut(orient(probability)).array, whole["adc"] != 0, cut(maps["adc"]).geometry), cut


def test_the_forest_is_fitted_on_out_of_fold_probabilities_alone(run, recipe, cohort, split):
    members = sorted(home.name for home in (run / "members").iterdir())
    assert members == ["first", "fold0", "fold1"]
    probabilities, held = {}, []
    for number in range(2):
        home = run / "members" / f"fold{number}"
        parts = json.loads((home / "run.json").read_text())["parts"]
        assert set(parts["train"]) | set(parts["test"]) == set(split.train) and parts["validation"] == [
            *split.validation
        ]
        subjects = [{cohort.case(name).subject for name in parts[part]} for part in ("train", "test")]
        assert not subjects[0] & subjects[1]
        held += parts["test"]
        member = load_model(home, device="cpu")
        probabilities |= {name: member.predict(cohort.case(name)).probability for name in parts["test"]}
    assert sorted(held) == sorted(split.train)
    assert json.loads((run / "members" / "first" / "run.json").read_text())["parts"]["train"] == [*split.train]

    second, rows, answers = Voxels(**{**VOXELS, "maps": ("zadc", "adc")}), [], []
    for name in split.train:
        scan, cut = scan_by_hand(cohort.case(name), probabilities[name])
        found = second.find(scan)
        label = cut(orient(cohort.case(name).label.read())).array > 0
        rows.append(second.describe(scan, found))
        answers.append(label.ravel()[found])
    rows, answers = np.concatenate(rows), np.concatenate(answers)
    expected = Forest.fit(rows, answers, recipe.forest)
    ours = Forest.load(run / "weights.safetensors", features={75})
    assert all(np.array_equal(getattr(ours, name), getattr(expected, name)) for name in vars(ours))
    about = json.loads((run / "forest.json").read_text())
    assert (about["cases"], about["candidates"], about["lesions"]) == (4, len(rows), int(answers.sum()))
    assert about["seconds"] > 0 and sum(about["importance"].values()) == pytest.approx(1)


def test_a_cascade_predicts_with_the_first_stage_of_all_cases(run, cohort):
    model, first = load_model(run, device="cpu"), load_model(run / "members" / "first", device="cpu")
    second = model.recipe.second
    for case in (cohort.cases[3], cohort.cases[5]):  # a coronal one that was trained on, and a new one
        found = model.predict(case)
        native = case.images["adc"].read()
        assert not found.mask.geometry.differences(native.geometry)
        scan, _ = scan_by_hand(case, first.predict(case).probability)
        voxels = second.find(scan)
        image = second.paint(voxels, model.forest.predict(second.describe(scan, voxels)), scan.inside.shape)
        expected = np.sort(image[image > 0])
        assert np.array_equal(np.sort(found.probability.array[found.probability.array > 0]), expected)
        assert not found.probability.array[native.array == 0].any()
        threshold = model.recipe.inference.threshold
        assert np.array_equal(found.mask.array, found.probability.array >= threshold)
        label = case.label.read().array > 0
        dice = 2 * (label & (found.mask.array > 0)).sum() / (label.sum() + found.mask.array.sum())
        assert dice > 0.7
    assert [model.seen.part(case, cohort="small") for case in cohort] == ["train"] * 4 + ["validation"] * 2
    rows = list(csv.DictReader((run / "validation.csv").open()))
    assert [row["case"] for row in rows] == [case.name for case in cohort][4:]


def test_its_threshold_is_tuned_and_may_change(run, cohort):
    model = load_model(run, device="cpu")
    assert model.tuned.cases == tuple(case.name for case in cohort)[4:]
    assert model.recipe.inference.threshold == model.tuned.choice["threshold"]
    assert load_model(run, overrides=("inference.threshold=0.45",)).recipe.inference.threshold == 0.45
    with pytest.raises(UserError, match=r"only inference\.… can change after training"):
        load_model(run, overrides=("second.above=0.1",))


def test_what_it_took_is_that_of_all_first_stages(run, recipe):
    facts = system_class(recipe).facts(recipe, run)
    assert facts["epochs"] == 3 and facts["seconds"] > 0 and facts["step_ms"] > 0


def test_a_run_that_stopped_goes_on_to_the_same_bytes(run, recipe, cohort, split, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run, out)
    lost = [out / "weights.safetensors", out / "members" / "fold1" / "weights.safetensors", out / "tuned.json"]
    before = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    with pytest.raises(UserError, match="training is not finished"):
        load_model(out)
    kept = {
        path: path.stat().st_mtime_ns for path in (out / "members").rglob("*.safetensors") if "fold1" not in str(path)
    }
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu", resume=True)
    assert [path.read_bytes() for path in lost] == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    whole = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu", resume=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    "die",
    [("multifocal.training.module:SegmentationModule.training_step", 4), ("multifocal.systems.forest:Forest.save", 1)],
)
def test_one_that_is_killed_goes_on_to_the_same_bytes(
    die, run, recipe, cohort, small_cohort, split, processes, tmp_path
):
    file, folds, out = tmp_path / "cascade.yaml", tmp_path / "folds.json", tmp_path / "run"
    file.write_text(recipes.dump(recipe))
    made = make_folds(cohort, dict.fromkeys((case.name for case in cohort), 0.0), k=2).model_dump(mode="json")
    made |= {"scheme": "dataset", "seed": None, "folds": [split.model_dump(mode="json")]}
    Folds.model_validate(made).save(folds)
    given = ["train", file, small_cohort, "--out", out, "--device", "cpu", "--folds", folds, "--fold", "0"]
    process = processes.Process(target=children.command, args=([str(each) for each in given], tmp_path / "screen", die))
    process.start()
    process.join()
    assert process.exitcode == KILLED and not (out / "weights.safetensors").exists()
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu", resume=True)
    for name in ("weights.safetensors", "members/fold1/weights.safetensors", "members/first/weights.safetensors"):
        assert (out / name).read_bytes() == (run / name).read_bytes()


@pytest.fixture(scope="session")
def components(say, cohort, split, tmp_path_factory):
    """A threshold, which is not trained, and a forest on components."""
    out = tmp_path_factory.mktemp("components") / "run"
    recipe = recipes.load(say("zadc-threshold", COMPONENTS))
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu")
    return out


def test_components_are_kept_as_a_whole(components, cohort):
    model = load_model(components, device="cpu")
    assert not (components / "members").exists() and (components / "run.json").is_file()
    case = cohort.cases[4]
    scan, _ = scan_by_hand(
        case, Volume(np.zeros(case.images["adc"].read().array.shape), case.images["adc"].read().geometry)
    )
    sizes = {
        len(one) for one in Candidates(**{**COMPONENTS, "maps": ("zadc", "adc"), "below": (-1.5, -2.0)}).find(scan)
    }
    found = model.predict(case)
    assert found.mask.array.sum() in sizes and (found.mask.array > 0)[case.label.read().array > 0].mean() > 0.9
    assert system_class(model.recipe).facts(model.recipe, components)["epochs"] == 0


def test_the_parts_of_a_cascade_are_what_leads_to_its_mask(components, run, cohort, tmp_path):
    model, case = load_model(components, device="cpu"), cohort.cases[4]
    whole, parts = model.predict(case), model.predict(case).parts
    assert list(parts) == list(model.parts) == ["first", "candidates", "dropped"]
    assert np.array_equal(parts["first"].mask.array, load_model("zadc-threshold").predict(case).mask.array)
    zadc, brain = (case.images[name].read().array for name in ("zadc", "adc"))
    labels, count = ndimage.label((zadc < -1.5) & (brain != 0), np.ones((3, 3, 3)))
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(count + 1))
    big = sizes * case.images["adc"].geometry().voxel_ml >= 0.02
    big[0] = False
    judged = parts["candidates"].mask.array > 0
    assert np.array_equal(judged, big[labels])  # those below -2 lie in those below -1.5
    dropped = parts["dropped"].mask.array > 0
    assert np.array_equal(dropped | (whole.mask.array > 0), judged) and not (dropped & (whole.mask.array > 0)).any()
    assert all(part.mask.geometry == whole.mask.geometry for part in parts.values())
    voxels = load_model(run, device="cpu")
    found = voxels.predict(case)
    first = load_model(run / "members" / "first", device="cpu").predict(case)
    assert list(found.parts) == list(voxels.parts) == ["first", "candidates"]
    assert np.array_equal(found.parts["first"].probability.array, first.probability.array)
    assert (found.parts["candidates"].mask.array >= (found.probability.array > 0)).all()
    predict_cohort(voxels, cohort.subset([case.name]), tmp_path / "masks", parts=True, probabilities=True)
    written = {str(path.relative_to(tmp_path / "masks")) for path in tmp_path.rglob("*.mha")}
    name = f"{case.name}_lesion.mha"
    maps = {f"{place}{case.name}_probability.mha" for place in ("", "parts/first/")}
    assert written == {name, f"parts/first/{name}", f"parts/candidates/{name}"} | maps


def test_a_cascade_writes_the_value_of_its_class(say, network, cohort, small_cohort, split, tmp_path):
    root = tmp_path / "cohort"
    shutil.copytree(small_cohort, root)
    for case in open_cohort(root):
        volume = read(case.label.path)
        write(case.label.path, Volume((4 * (volume.array > 0)).astype(np.uint8), volume.geometry))
    member = {"recipe": network["recipe"], "set": {"training": {"epochs": 1}, "labels": {"classes": {"core": 4}}}}
    recipe = recipes.load(say(member, COMPONENTS, folds=2))
    fit(recipe, open_cohort(root), split=split, out=tmp_path / "run", progress=False, device="cpu")
    found = load_model(tmp_path / "run", device="cpu").predict(open_cohort(root).cases[4])
    assert set(np.unique(found.mask.array)) == {0, 4}
    assert all(set(np.unique(part.mask.array)) <= {0, 4} for part in found.parts.values())
    # And so does one after a run, which alone says what its values mean.
    after = recipes.load(say({"run": str(tmp_path / "run")}, COMPONENTS, inference={"threshold": 0.01}))
    others = Fold(train=split.validation, validation=(), test=())
    fit(after, open_cohort(root), split=others, out=tmp_path / "after", progress=False, device="cpu")
    model = load_model(tmp_path / "after", device="cpu")
    assert {int(value) for case in open_cohort(root) for value in np.unique(model.predict(case).mask.array)} == {0, 4}


def test_a_run_as_first_stage_may_not_have_seen_the_cases(components, run, say, cohort, split, tmp_path):
    recipe = recipes.load(say({"run": str(run)}, VOXELS))
    options = {"out": tmp_path / "new", "progress": False, "device": "cpu"}
    with pytest.raises(
        UserError, match="its first stage both was trained on S_0-VISIT_01, where .* give its recipe as"
    ):
        fit(recipe, cohort, split=split, **options)
    assert not (tmp_path / "new" / "run.json").exists()
    fit(recipe, cohort, split=Fold(train=split.validation, validation=(), test=()), **options)
    model = load_model(tmp_path / "new", device="cpu")
    assert model.seen.part(cohort.cases[0], cohort="small") == "train"  # by its first stage


def test_one_subject_has_no_out_of_fold_probabilities(say, network, cohort, split, tmp_path):
    recipe = recipes.load(say(network, VOXELS))
    alone = Fold(train=split.train[1:2], validation=split.validation, test=())
    with pytest.raises(UserError, match=r"needs 2 subjects to train on, found 1; add cases, or give a run as first"):
        fit(recipe, cohort, split=alone, out=tmp_path / "run", progress=False, device="cpu")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({**COMPONENTS, "below": [-90.0]}, "there is no candidate in 4 training cases; raise second.below or lower"),
        (
            {**COMPONENTS, "map": "adc", "below": [1.0e4], "overlap": 0.9},
            r"none of the 4 candidates in 4 training cases is a lesion",
        ),
    ],
)
def test_candidates_that_hold_no_lesion(second, message, say, cohort, split, tmp_path):
    recipe = recipes.load(say("zadc-threshold", second))
    options = {"split": split, "progress": False, "device": "cpu"}
    with pytest.raises(UserError, match=message):
        fit(recipe, cohort, out=tmp_path / "run", **options)
    fit(recipe, cohort, out=tmp_path / "rehearsed", rehearsal=True, **options)
    assert not load_model(tmp_path / "rehearsed", device="cpu").predict(cohort.cases[1]).mask.array.any()


def test_what_is_ignored_is_neither_lesion_nor_none(say, cohort, small_cohort, split, small_recipe, tmp_path):
    root = tmp_path / "cohort"
    shutil.copytree(small_cohort, root)
    for case in open_cohort(root).cases[1:]:
        volume = read(case.label.path)
        near = ndimage.binary_dilation(volume.array > 0, iterations=2)
        write(case.label.path, Volume(np.where(near, volume.array, 255).astype(np.uint8), volume.geometry))
    member = {"recipe": str(small_recipe), "set": {"training": {"epochs": 1}, "labels": {"ignore": 255}}}
    recipe = recipes.load(say(member, VOXELS, folds=2))
    judged = split.model_copy(update={"train": split.train[1:]})
    fit(recipe, open_cohort(root), split=judged, out=tmp_path / "run", progress=False, device="cpu")
    about = json.loads((tmp_path / "run" / "forest.json").read_text())
    assert about["candidates"] > about["fitted_on"] > about["lesions"] > 0


def test_masks_alone_are_judged(say, small_recipe, cohort, split, tmp_path):
    labels = {"recipe": str(small_recipe), "set": {"labels": {"classes": {"core": 1, "edema": 2}}}}
    for first in (labels, {"recipe": "nuclei-otsu"}):
        with pytest.raises(UserError, match="first predicts several classes or instances, and a forest tells"):
            recipes.load(say(first, VOXELS))
    with pytest.raises(UserError, match="first has training.denoise, and finds noise"):
        denoised = {"training": {"denoise": {}, "monitor": None}}
        recipes.load(say({"recipe": str(small_recipe), "set": denoised}, VOXELS))
    numbered = Cohort(cohort.name, cohort.root, cohort.layout, cohort.cases, label_kind="instances")
    with pytest.raises(UserError, match="a cascade is fitted on masks, and cohort small numbers instances"):
        fit(recipes.load(say("zadc-threshold", VOXELS)), numbered, split=split, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("first", "options", "message"),
    [
        ({}, {}, "a member is either a recipe or a run"),
        ("zadc", {}, "unknown recipe 'zadc'"),
        ({"recipe": "zadc-threshold", "set": 3}, {}, "first.set: expected a mapping"),
        ("zadc-threshold", {"second": {"kind": "pixels"}}, "unknown kind 'pixels'"),
        ("zadc-threshold", {"folds": 1}, "folds"),
        ("zadc-threshold", {"forest": {"tree": 3}}, "forest: unknown key 'tree'; did you mean 'trees'"),
        (
            "zadc-threshold",
            {"inference": {"threshold": 0.3, "hysteresis": 0.5}},
            "hysteresis=0.5 is above threshold=0.3",
        ),
    ],
)
def test_what_no_cascade_can_be(first, options, message, say):
    with pytest.raises(UserError, match=message):
        recipes.load(say(first, options.pop("second", VOXELS), **options))


def test_a_missing_package_is_named_before_any_work(say, monkeypatch):
    recipe = recipes.load(say("zadc-threshold", VOXELS))
    check_packages(recipe)
    monkeypatch.setattr(versions, "find_spec", lambda asked: None if asked == "sklearn" else asked)
    cure = r"recipe \w+ needs sklearn: pip install 'multifocal\[forest\]'"
    with pytest.raises(UserError, match=cure):
        check_packages(recipe)
    members = [{"recipe": recipe.model_dump(mode="json")}, {"recipe": "zadc-threshold"}]
    says = {"kind": "ensemble", "name": "more", "members": members, "combine": {"rule": "vote"}}
    with pytest.raises(UserError, match=cure):
        check_packages(recipes.parse(says, where="more.yaml"))


def test_a_studys_seed_moves_those_of_both_stages(recipe):
    data = recipe.model_dump(mode="json")
    changed = recipes.parse(type(recipe).changed(data, {"training": {"epochs": 7}}, seed=2), where="")
    assert {(one.training.seed, one.training.epochs) for one in changed.trainings} == {(2003, 7)}
    assert changed.forest.seed == 2000 and len(changed.trainings) == 3


def test_a_cascade_that_is_tuned_holds_cases_out(say, cohort):
    tuned = recipes.load(say("zadc-threshold", VOXELS, inference={"tune": {"metric": "dice", "threshold": [0.5]}}))
    assert not choose_split(cohort, recipes.load(say("zadc-threshold", VOXELS))).validation
    assert choose_split(cohort, tuned).validation


def test_an_ensemble_of_cascades_is_fitted_though_no_network_is(say, cohort, split, tmp_path):
    file = tmp_path / "both.yaml"
    members = [{"recipe": str(say("zadc-threshold", each))} for each in (COMPONENTS, SCALES)]
    combine = {"rule": "geometric-mean", "threshold": "dice"}
    file.write_text(yaml.safe_dump({"kind": "ensemble", "name": "pair", "members": members, "combine": combine}))
    recipe = recipes.load(file)
    assert recipe.needs_training and not recipe.trainings and not recipe.is_tuned
    fit(recipe, cohort, split=split, out=tmp_path / "run", progress=False, device="cpu")
    model, case = load_model(tmp_path / "run", device="cpu"), cohort.cases[4]
    found = model.predict(case)
    first, second = (one.predict(case).probability.array for one in model.members)
    np.testing.assert_allclose(found.probability.array, np.sqrt(first * second), atol=1e-6)
    assert (found.mask.array > 0)[case.label.read().array > 0].any()


def test_a_tuned_member_holds_cases_out(say, cohort, tmp_path):
    tuned = say("zadc-threshold", VOXELS, inference={"tune": {"metric": "dice", "threshold": [0.5]}})
    says = {"kind": "ensemble", "name": "pair", "members": [{"recipe": str(tuned)}, {"recipe": "zadc-threshold"}]}
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump({**says, "combine": {"rule": "vote"}}))
    recipe = recipes.load(tmp_path / "pair.yaml")
    assert recipe.is_tuned and choose_split(cohort, recipe).validation
