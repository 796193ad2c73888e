"""Models of the package: that they are what their cards say, and work wherever a run folder does."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml

from multifocal import __version__, models, recipes
from multifocal.cohorts import Case, Cohort, ImageFile, lesion_shares, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.errors import UserError
from multifocal.metrics import evaluate_case
from multifocal.systems import flags, load_model, predict_cohort
from multifocal.training.warm_start import read_start, start_record
from multifocal.volumes import Geometry, Volume, write
from multifocal.weights import read_weights

NAMES = ("hie-synthetic", "hie-synthetic-adc")
NETWORK = "hie-synthetic-adc"
PLAIN = {"hie-synthetic": 0.5, "hie-synthetic-adc": 0.25}  # least Dice where much is injured


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Scans of another seed than the models have seen: the two of six with the largest lesions."""
    folder = tmp_path_factory.mktemp("models") / "cohort"
    write_phantom(folder, cases=6, seed=11, domain="random")
    cohort = open_cohort(folder)
    shares = lesion_shares(cohort)
    return cohort.subset(sorted(shares, key=shares.__getitem__)[-2:])


def facts(name):
    return yaml.safe_load(models.card(name).split("---\n")[1])


def files(name):
    return {path.relative_to(models.model_folder(name)).as_posix(): path for path in folder_files(name)}


def folder_files(name):
    return [path for path in models.model_folder(name).rglob("*") if path.is_file()]


def test_the_names():
    assert models.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_what_its_card_says(name):
    said, about = facts(name), json.loads((models.model_folder(name) / "run.json").read_text())
    weights = {at: path for at, path in files(name).items() if path.suffix == ".safetensors"}
    assert said["sha256"] == {at: hashlib.sha256(path.read_bytes()).hexdigest() for at, path in weights.items()}
    assert (said["name"], said["license"], said["patients"]) == (name, "Apache-2.0", 0)
    assert said["package"] == f"multifocal {__version__}" == f"multifocal {about['versions']['multifocal']}"
    assert re.fullmatch("[0-9a-f]{40}", said["commit"]) and said["commit"] == about["commit"]
    recipe = recipes.load(models.model_folder(name) / "recipe.yaml")
    assert recipe == recipes.load(name)
    assert said["trained on"] == about["cohort"]["name"]
    assert len(about["parts"]["train"]) == int(re.search(r"--cases (\d+)", said["trained on"])[1])
    assert said["torch"] == about["versions"]["torch"]


@pytest.mark.parametrize("name", NAMES)
def test_the_architecture_is_that_of_the_files(name):
    sizes = []
    for at in facts(name)["sha256"]:
        state = read_weights(models.model_folder(name) / at)
        if "roots" in state:
            sizes.append(f"{len(state['roots'])} trees, {len(state['left'])} nodes, seed 0")
        else:
            buffers = ("running_mean", "running_var", "num_batches_tracked")
            learned = (value for key, value in state.items() if not key.endswith(buffers))
            sizes.append(f"unet3d, {sum(value.numel() for value in learned)} weights, seed 0")
            assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
    said = facts(name)["architecture"]
    assert len(said) == len(sizes) and all(line.endswith(size) for line, size in zip(said, sizes, strict=True))


def test_all_of_them_are_small_and_say_nothing_of_where_they_were_made():
    assert sum(path.stat().st_size for name in NAMES for path in folder_files(name)) < 10e6
    for name in NAMES:
        assert {path.suffix for path in folder_files(name)} == {".json", ".md", ".safetensors", ".yaml"}
        for path in folder_files(name):
            if path.suffix != ".safetensors":
                assert not re.search(r"(?<![\w.])/(work|home|root|tmp|mnt|Users)\b", path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_lies_on_the_scans_own_grid_and_finds_what_is_plain(name, scans, tmp_path):
    model = load_model(name, device="cpu")
    assert model.seen.among(scans) == {}
    cases = [case if name == "hie-synthetic" else without(case, "zadc") for case in scans]
    predict_cohort(model, Cohort(scans.name, scans.root, scans.layout, tuple(cases)), tmp_path)
    dice = {}
    for case in cases:
        mask, label = model.predict(case).mask, case.label.read()
        assert mask.geometry == case.images["adc"].geometry() == label.geometry
        assert set(np.unique(mask.array)) <= {0, 1}
        dice[case.name] = evaluate_case(mask.array, label.array, spacing=mask.geometry.spacing)["dice"]
    assert max(dice.values()) > PLAIN[name], dice


def without(case, name):
    return type(case)(case.name, case.subject, {key: at for key, at in case.images.items() if key != name}, case.label)


def test_it_predicts_straight_after_installation(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hie-synthetic").mkdir()  # a folder that is no run is none
    written = predict_cohort("hie-synthetic", scans.subset([scans.cases[0].name]), tmp_path / "masks")
    assert [path.parent for path in written] == [tmp_path / "masks"]


def test_what_lies_on_the_disk_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert models.is_model("hie-synthetic-adc")
    shutil.copytree(models.model_folder("hie-synthetic-adc"), tmp_path / "hie-synthetic-adc")
    assert not models.is_model("hie-synthetic-adc")
    assert models.run_folder("hie-synthetic-adc").as_posix() == "hie-synthetic-adc"
    assert not models.is_model("hie-synthetic/../../../etc") and not models.is_model("")


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UserError, match="unknown model 'hie-syntetic'; did you mean 'hie-synthetic'"):
        models.card("hie-syntetic")
    with pytest.raises(
        UserError, match="unknown model or recipe 'hie-sinthetic-adc'; did you mean 'hie-synthetic-adc'"
    ):
        load_model("hie-sinthetic-adc")


def test_a_training_starts_from_a_model():
    recipe = recipes.load(NETWORK, overrides=[f"training.start_from={NETWORK}"])
    assert recipe.training.start_from == NETWORK  # a name, not a path of this machine
    file = models.run_folder(NETWORK) / "weights.safetensors"
    begun, record = read_start(recipe), start_record(recipe)["start_from"]
    assert record["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() and len(record["seen"]) == 200
    built, halved = recipe.build_network(), read_weights(file)
    built.load_state_dict(begun)
    whole = {key: value for key, value in built.state_dict().items() if value.is_floating_point()}
    assert all(value.dtype == torch.float32 and torch.equal(value.half(), halved[key]) for key, value in whole.items())


def test_of_an_ensemble_a_member_is_to_be_named():
    with pytest.raises(UserError, match="hie-synthetic: holds no weights.*; start from one of its members/ that"):
        read_start(recipes.load("hie-small", overrides=["training.start_from=hie-synthetic"]))


def test_a_model_may_be_a_member(scans):
    members = [{"run": "hie-synthetic-adc"}, {"recipe": "zadc-clean"}]
    says = {"kind": "ensemble", "name": "both", "members": members, "combine": {"rule": "vote", "at_least": 1}}
    recipe = recipes.parse(says, where="both.yaml", home="/elsewhere")
    assert recipe.members[0].run == "hie-synthetic-adc" and not recipe.needs_training
    case = scans.cases[0]
    mask = load_both(recipe).predict(case).mask
    assert mask.geometry == case.images["adc"].geometry()


def load_both(recipe):
    from multifocal.systems import build

    return build(recipe, device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_a_scan_of_an_adult_is_flagged(scans, tmp_path, name):
    """A brain of three times the volume of a neonate's."""
    case, model = scans.cases[0], load_model(name)
    images = {}
    for map_, image in case.images.items():
        volume = image.read()
        grid = volume.geometry
        larger = Geometry(grid.size, tuple(1.45 * side for side in grid.spacing), grid.origin, grid.direction)
        write(tmp_path / f"{map_}.mha", Volume(volume.array, larger))
        images[map_] = ImageFile(tmp_path / f"{map_}.mha")
    adult = Case("adult", "adult", images)
    as_it_is = {flag.name for flag in flags(case, model.predict(case), ranges=model.ranges) if flag.raised}
    raised = {flag.name: flag for flag in flags(adult, model.predict(adult), ranges=model.ranges) if flag.raised}
    assert "brain volume" not in as_it_is
    assert "ml, above" in raised["brain volume"].text and "200 training cases" in raised["brain volume"].text
