"""Denoising pretraining: what is added and asked for, and the training that starts from it."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.studies import load, resolve
from multifocal.systems import load_model
from multifocal.systems.network_recipe import Denoising
from multifocal.training.denoising import add_noise
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_tree, read_weights

DENOISE = ("training.denoise={}", "training.monitor=null")


def lesions(*size):
    target = torch.zeros(1, 1, *size)
    target[(..., *(slice(n // 3, n // 2) for n in size))] = 1
    return target


@pytest.mark.parametrize("size", [(60, 60), (30, 30, 20)])
def test_the_noise_is_weaker_in_lesions(size):
    torch.manual_seed(0)
    target = lesions(*size)
    _, noise = add_noise(torch.zeros(1, 3, *size), target, Denoising(margin=0))
    inside = target.expand_as(noise) > 0
    assert noise[inside].std().item() == pytest.approx(0.8, rel=0.1)
    assert noise[~inside].std().item() == pytest.approx(1.5, rel=0.05)
    assert abs(noise.mean().item()) < 0.1


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.95), st.integers(0, 2**31), st.sampled_from([(6, 7), (5, 6, 4)]))
def test_the_mixture_by_hand(gamma, seed, size):
    torch.manual_seed(seed)
    images = torch.rand(2, 2, *size)
    noisy, noise = add_noise(images, lesions(*size).expand(2, 1, *size), Denoising(gamma=gamma))
    torch.testing.assert_close(noisy, gamma**0.5 * images + (1 - gamma) ** 0.5 * noise)
    torch.manual_seed(seed + 1)
    assert not torch.equal(noise, add_noise(images, lesions(*size).expand(2, 1, *size), Denoising(gamma=gamma))[1])


@pytest.mark.parametrize("size", [(21, 20), (15, 14, 13)])
def test_lesions_are_grown_by_a_margin_that_is_drawn(size, monkeypatch):
    """Every one from 0 to the most, each image its own; SciPy's dilation is the reference."""
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    torch.manual_seed(0)
    target = lesions(*size).expand(40, 1, *size)
    _, spread = add_noise(torch.zeros(40, 2, *size), target, Denoising(lesion_std=1.0, other_std=2.0, margin=3))
    mask, everywhere = target[0, 0].numpy() > 0, np.ones((3,) * len(size), bool)
    expected = [ndimage.binary_dilation(mask, everywhere, iterations=by) if by else mask for by in range(4)]
    found = []
    for image in spread.numpy():
        assert (image[0] == image[1]).all()
        found.append([by for by in range(4) if (expected[by] == (image[0] == 1)).all()])
    assert all(len(by) == 1 for by in found) and {by[0] for by in found} == {0, 1, 2, 3}


def test_a_step_learns_the_noise(small_recipe, monkeypatch):
    monkeypatch.setattr(SegmentationModule, "_log", lambda *_, **__: None)
    module = SegmentationModule(recipes.load(small_recipe, overrides=DENOISE)).train()
    images, target = torch.rand(2, 2, 8, 6, 4), lesions(8, 6, 4).expand(2, 1, 8, 6, 4)
    torch.manual_seed(3)
    found = module.training_step((images, target), 0)
    torch.manual_seed(3)
    noisy, noise = add_noise(images, target, Denoising())
    predicted = module.network(noisy)  # whose dropout draws after the noise
    assert predicted.shape == images.shape
    torch.testing.assert_close(found, ((predicted - noise) ** 2).mean())
    found.backward()
    assert [key for key, one in module.named_parameters() if one.grad is None] == []


def test_a_training_starts_from_it_with_a_head_of_its_own(train, log, tmp_path, monkeypatch):
    run = train(*DENOISE, "training.epochs=2", out="pretrained")
    rows = log(run)
    assert len(rows) == 2 and all(row["train/noise"] == row["train/loss"] and "val/dice" not in row for row in rows)
    pretrained = read_weights(run / "weights.safetensors")
    assert pretrained["network.head.weight"].shape[0] == 2  # of each channel its noise
    started = []
    made = SegmentationModule.__init__

    def spy(self, *arguments, **options):
        made(self, *arguments, **options)
        started.append({key: value.clone() for key, value in self.network.state_dict().items()})

    monkeypatch.setattr(SegmentationModule, "__init__", spy)
    tuned = train(f"training.start_from={run}", "training.epochs=1", out="tuned")
    plain = train("training.epochs=1", out="plain")
    from_it, anew = started
    for key, value in from_it.items():
        assert torch.equal(value, anew[key] if key.startswith("network.head.") else pretrained[key])
    assert json.loads((tuned / "run.json").read_text())["start_from"]["weights"] == str(run / "weights.safetensors")
    load_model(tuned)
    assert (plain / "weights.safetensors").read_bytes() != (tuned / "weights.safetensors").read_bytes()


def test_it_predicts_no_lesions(train):
    run = train(*DENOISE, "training.epochs=1")
    with pytest.raises(
        UserError, match="run: finds noise, not lesions; train a recipe with training.start_from="
    ) as told:
        load_model(run)
    assert "\n" not in str(told.value)
    assert "supervision" not in " ".join(read_tree(run / "resume.safetensors")["state_dict"])


def test_no_study_and_no_ensemble_waits_for_it_to_find_lesions(small_recipe, tmp_path):
    study = {"name": "s", "recipe": str(small_recipe), "arms": {"dice": {"training": {"denoise": {}, "monitor": None}}}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    with pytest.raises(UserError, match="arm dice: training.denoise finds noise, which no score is for; set it to nul"):
        resolve(load(tmp_path / "study.yaml"), "dice", seed=0)
    member = {"recipe": str(small_recipe), "set": {"training": {"denoise": {}, "monitor": None}}}
    (tmp_path / "two.yaml").write_text(json.dumps({"kind": "ensemble", "name": "two", "members": [member, member]}))
    with pytest.raises(UserError, match="a member has training.denoise, and finds noise, not lesions: set it to null"):
        recipes.load(tmp_path / "two.yaml")


def test_another_network_does_not_start_from_it(train):
    run = train(*DENOISE, "training.epochs=1", out="pretrained")
    with pytest.raises(UserError, match="tensor .* has the shape"):
        train(f"training.start_from={run}", "network.options.features=[2, 8]", out="tuned")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("training.denoise={}",), "training: denoise finds no lesions that monitor could score: set training.monitor"),
        (
            (*DENOISE, "training.start_from=x"),
            "training: denoise does not go with start_from: leave it out, and say it",
        ),
        ((*DENOISE, "training.deep_supervision=[1, 1]"), "training: denoise does not go with deep_supervision: leave"),
        ((*DENOISE, "network.options.prior=0.1"), "training.denoise finds noise, which has no prior: set network.opt"),
        (("training.denoise={gamma: 1}", DENOISE[1]), "training.denoise.gamma: Input should be less than 1, found 1"),
        (("training.denoise={margin: -1}", DENOISE[1]), "training.denoise.margin: Input should be greater than or eq"),
        (("training.denoise={std: 1}", DENOISE[1]), "training.denoise: unknown key 'std'"),
    ],
)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(small_recipe, overrides, message):
    with pytest.raises(UserError) as caught:
        recipes.load(small_recipe, overrides=overrides)
    assert message in str(caught.value) and "\n" not in str(caught.value)
