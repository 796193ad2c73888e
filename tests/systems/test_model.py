"""Masks on the scan's own grid, and the ways a model cannot be loaded."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import ndimage

from multifocal import networks, recipes
from multifocal.cohorts import Case, ImageFile
from multifocal.device import choose_device
from multifocal.errors import UserError
from multifocal.systems import Postprocess, Prediction, load_model, postprocess
from multifocal.systems.combination import Mean
from multifocal.systems.loading import RECIPE
from multifocal.systems.network import NetworkSystem
from multifocal.systems.system import WEIGHTS
from multifocal.systems.threshold import ThresholdSystem
from multifocal.volumes import Geometry, Volume, orient, write
from multifocal.weights import write_weights


@pytest.mark.parametrize(
    ("dimensions", "overrides"),
    [
        (3, ()),
        (3, ("inference.window=[8, 8, 4]",)),
        (3, ("inference.flips=[0, 1, 2]",)),
        (3, ("preprocessing.margin=3",)),
        (3, ("preprocessing={kind: resize, brain: adc, size: [null, null, null], "
             "channels: [{map: adc}, {map: zadc, below: -2}]}",)),
        (2, ()),
        (2, ("inference.batch_size=1", "inference.flips=[1]")),
        (2, ("preprocessing.axes=PSR",)),
    ],
)  # fmt: skip
def test_a_mask_comes_home_exactly_from_every_way_a_scan_can_lie(model, cohort, below, dimensions, overrides):
    predictor = model(*overrides, dimensions=dimensions, multiple=4)
    for case in cohort:
        predicted, native = predictor.predict(case), case.images["adc"].geometry()
        assert predicted.mask.geometry == predicted.probability.geometry == native
        assert predicted.mask.array.dtype == np.uint8 and predicted.probability.array.dtype == np.float32
        np.testing.assert_array_equal(predicted.mask.array, below(case))


def test_a_2d_network_sees_axial_slices(model, cohort):
    predictor = model(dimensions=2)
    case = cohort.cases[3]  # coronal: its axial slices lie along the second axis
    predictor.predict(case)
    seen = torch.cat(predictor.network.network.seen)[:, 0].numpy()
    adc = orient(case.images["adc"].read(), axes="LPS").array
    expected = [adc[..., z] for z in range(adc.shape[2]) if adc[..., z].any()]
    assert len(seen) == len(expected)
    for image, slice_ in zip(seen, expected, strict=True):
        inside = np.argwhere(slice_)
        assert np.isin(slice_[tuple(inside.T)], image).all()


@pytest.mark.parametrize("way", ["{kind: brain-box, spacing: [1.5, 1.5, 2]", "{kind: resize, size: [32, 32, 16]"])
def test_a_resampled_prediction_lands_on_the_scans_grid(model, cohort, way):
    """The brain is found again, where it was, by a network that goes by the ADC alone."""
    channels = "channels: [{map: adc}, {map: zadc}]"
    predictor = model(f"preprocessing={way}, brain: adc, {channels}}}", answer=lambda images: images[:, :1] - 400)
    for case in cohort:
        brain = case.images["adc"].read()
        found = predictor.predict(case).mask
        assert found.geometry == brain.geometry
        both = found.array.astype(bool) & (brain.array != 0)
        assert 2 * both.sum() / (found.array.sum() + (brain.array != 0).sum()) > 0.93


@pytest.mark.parametrize("within", [True, False])
def test_within_brain(model, cohort, within):
    predictor = model(f"inference.within_brain={str(within).lower()}", answer=constant(9.0))
    for case in cohort:
        brain = case.images["adc"].read().array != 0
        mask = predictor.predict(case).mask.array
        assert mask[brain].all() and bool(mask[~brain].any()) is not within


def constant(logit):
    return lambda images: torch.full_like(images[:, :1], logit)


@pytest.mark.parametrize(("threshold", "expected"), [(0.35, 1), (0.5, 1), (0.55, 0)])
def test_the_threshold_is_the_lowest_probability_of_a_lesion(model, cohort, threshold, expected):
    predictor = model(f"inference.threshold={threshold}", answer=constant(0.0))
    predicted = predictor.predict(cohort.cases[1])
    brain = cohort.cases[1].images["adc"].read().array != 0
    assert (predicted.mask.array[brain] == expected).all() and (predicted.probability.array[brain] == 0.5).all()


def test_a_3d_network_refuses_an_image_of_two_dimensions(model, tmp_path):
    grid = Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    for name in ("adc", "zadc"):
        write(tmp_path / f"{name}.mha", Volume(np.arange(16, dtype=np.float32).reshape(4, 4), grid))
    case = Case("flat", "flat", {name: ImageFile(tmp_path / f"{name}.mha") for name in ("adc", "zadc")})
    with pytest.raises(UserError, match="case flat: is 2D, but the network unet3d is 3D"):
        model().predict(case)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("overrides", [(), ("inference.flips=[0]",), ("inference.window=[8, 8, 4]",)])
def test_an_answer_that_is_not_finite_is_refused(model, cohort, bad, overrides):
    """NaN reaches no threshold: it would make a mask without a lesion."""

    def answer(images):
        logits = images[:, 1:2].clone()
        logits[..., -1, -1, -1] = bad
        return logits

    case = cohort.cases[0]
    with pytest.raises(
        UserError, match=f"case {case.name}: the network answers with NaN or infinity; copy its weights"
    ):
        model(*overrides, answer=answer).predict(case)


def test_no_system_predicts_nan():
    grid = Geometry((2, 2), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    whole, broken = np.ones((2, 2), np.float32), np.array([[0.5, np.nan], [0, 1]], np.float32)
    for mask, probability, what in ((broken, None, "mask"), (whole, broken, "probability")):
        with pytest.raises(UserError, match=f"a predicted {what} holds NaN"):
            Prediction(Volume(mask, grid), None if probability is None else Volume(probability, grid))
    with pytest.raises(UserError, match="the probability holds NaN"):
        postprocess(Volume(broken, grid), Postprocess())
    with pytest.raises(UserError, match="a mean of probabilities holds NaN"):
        Mean()([whole, broken], 1.0)


def test_what_follows_a_threshold_on_a_map(cohort, below):
    case = cohort.cases[1]
    labels, count = ndimage.label(below(case), np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert len(set(sizes)) > 1
    for override, kept in (("largest_only=true", sizes.max()), (f"min_size_voxels={sizes.max()}", sizes.max())):
        found = load_model("zadc-threshold", overrides=(override,)).predict(case).mask.array
        assert np.array_equal(found, np.isin(labels, 1 + np.flatnonzero(sizes >= kept)))
    flat = load_model("zadc-threshold", overrides=("min_size_voxels=2", "min_size_dimensions=2")).predict(case)
    assert 0 < flat.mask.array.sum() < below(case).sum()


@pytest.mark.parametrize("value", [-1.5, -2.0, -2.5])
def test_the_threshold_recipe(cohort, below, value):
    predictor = load_model("zadc-threshold", overrides=(f"below={value}",))
    assert isinstance(predictor, ThresholdSystem)
    for case in cohort:
        predicted = predictor.predict(case)
        assert predicted.probability is None and predicted.mask.array.dtype == np.uint8
        np.testing.assert_array_equal(predicted.mask.array, below(case, value))
        assert predicted.mask.geometry == case.images["adc"].geometry()


def test_the_threshold_recipe_is_minus_two(cohort, below):
    case = cohort.cases[1]
    np.testing.assert_array_equal(load_model("zadc-threshold").predict(case).mask.array, below(case, -2.0))


# Loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(recipe, tmp_path) -> Path:
    """A finished run with the weights of a small network."""
    folder, settings = tmp_path / "run", recipe("network.options={features: [2, 4], dropout: [0, 0]}")
    folder.mkdir()
    (folder / RECIPE).write_text(recipes.dump(settings))
    torch.manual_seed(0)
    network = networks.build("unet3d", in_channels=2, **settings.network.options)
    write_weights(folder / WEIGHTS, network.state_dict())
    return folder


def test_a_run_predicts_with_its_weights_in_evaluation_mode(finished, cohort):
    predictor = load_model(finished, device="cpu")
    assert isinstance(predictor, NetworkSystem) and not predictor.network.training
    kept = load_file(finished / WEIGHTS)
    assert all(torch.equal(value, kept[name]) for name, value in predictor.network.state_dict().items())
    one, other = (predictor.predict(cohort.cases[0]).probability.array for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_inference_settings_can_be_replaced_and_nothing_else(finished):
    predictor = load_model(finished, overrides=("inference.threshold=0.2", "inference.flips=[0]"), device="cpu")
    assert predictor.recipe.inference.threshold == 0.2 and predictor.recipe.inference.flips == (0,)
    with pytest.raises(UserError, match=r"--set training.epochs=3: only inference.… can change after training"):
        load_model(finished, overrides=("training.epochs=3",))
    with pytest.raises(UserError, match="unknown key 'treshold'; did you mean 'threshold'"):
        load_model(finished, overrides=("inference.treshold=0.2",))


def test_no_run_at_all(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such run folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match="default: is a recipe that needs training; `multifocal train default COHORT"):
        load_model("default")
    with pytest.raises(UserError, match="device 'bogus' cannot be used here"):
        load_model("zadc-threshold", device="bogus")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: is not a run folder \(no recipe.yaml\)"):
        load_model(tmp_path / "empty")


def test_an_unfinished_run(finished):
    (finished / WEIGHTS).unlink()
    with pytest.raises(UserError, match="run: training is not finished; continue it with .* --resume"):
        load_model(finished)


def test_weights_of_another_network(finished):
    other = networks.build("unet3d", in_channels=2, features=(3, 5), dropout=(0, 0))
    write_weights(finished / WEIGHTS, other.state_dict())
    with pytest.raises(UserError, match="weights.safetensors: does not fit the network of recipe.yaml"):
        load_model(finished)


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_weights_of_a_network_with_other_parts(finished, change):
    weights = load_file(finished / WEIGHTS)
    if change == "missing":
        del weights["network.head.weight"]
    else:
        weights["more"] = torch.zeros(1)
    save_file(weights, finished / WEIGHTS)
    with pytest.raises(UserError, match="weights.safetensors: does not fit the network of recipe.yaml"):
        load_model(finished)


class Malice:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_is_never_opened(finished, tmp_path, form):
    harm = tmp_path / "harm"
    if form == "pickle":
        (finished / WEIGHTS).write_bytes(pickle.dumps(Malice(harm)))
    else:
        torch.save({"weights": Malice(harm)}, finished / WEIGHTS)
    with pytest.raises(UserError, match=r"weights.safetensors: is not a whole safetensors file.*can run any code"):
        load_model(finished)
    shutil.copy(finished / WEIGHTS, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model.pt: is not a run folder.*Pickled checkpoints are not opened"):
        load_model(tmp_path / "model.pt")
    assert not harm.exists()


def test_truncated_weights(finished):
    content = (finished / WEIGHTS).read_bytes()
    for length in (0, 4, 100, len(content) - 1):
        (finished / WEIGHTS).write_bytes(content[:length])
        with pytest.raises(UserError, match="weights.safetensors: is not a whole safetensors file"):
            load_model(finished)


def test_a_recipe_that_is_not_the_runs(finished):
    (finished / RECIPE).write_text(recipes.dump(recipes.load("zadc-threshold")))
    with pytest.raises(UserError, match="recipe.yaml: is a recipe without training; predict with its name"):
        load_model(finished)
    (finished / RECIPE).write_text("network: [")
    with pytest.raises(UserError, match="recipe.yaml: not valid YAML"):
        load_model(finished)


@pytest.mark.parametrize("device", ["banana", "meta", "cuda:99"])
def test_a_device_that_is_not_there(finished, device):
    with pytest.raises(UserError, match=f"device '{device}' cannot be used here: ") as raised:
        load_model(finished, device=device)
    assert "\n" not in str(raised.value)


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_mistyped_name_says_both_what_it_could_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match="zadc-treshold: no such run folder, and unknown model or recipe.*'zadc-threshold'"
    ):
        load_model("zadc-treshold")


def test_a_folder_named_like_a_recipe_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zadc-threshold").mkdir()
    assert load_model("zadc-threshold").recipe.below == -2.0
