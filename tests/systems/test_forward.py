"""Whole volumes, windows, slices, flips: from prepared images to probabilities."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from multifocal.cohorts import Labels
from multifocal.errors import UserError
from multifocal.networks import Padded, build
from multifocal.pipeline.prepare import Prepared
from multifocal.systems.forward import probabilities
from multifocal.systems.network_recipe import InferenceSettings
from multifocal.volumes import Geometry


def prepared(images, inside=None):
    size = images.shape[1:]
    grid = Geometry(size, (1.0,) * len(size), (0.0,) * len(size), tuple(np.eye(len(size)).ravel()))
    inside = np.ones(size, bool) if inside is None else inside
    return Prepared("case", images, None, inside, grid, inside, grid, None)


def run(network, images, *, inside=None, dimensions=3, autocast=None, **options):
    (lesion,) = probabilities(
        network,
        prepared(images, inside),
        dimensions=dimensions,
        labels=Labels(),
        settings=InferenceSettings(**options),
        autocast=autocast,
    )
    return lesion


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


class Pointwise(nn.Module):
    """Logit of a voxel from its own channels alone."""

    multiple = 1

    def __init__(self, dimensions=3, channels=2):
        super().__init__()
        torch.manual_seed(0)
        self.layer = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions](channels, 1, 1)
        self.batches = []

    def forward(self, images):
        self.batches.append(images.clone())
        return self.layer(images)

    def expected(self, images):
        weight, bias = self.layer.weight.detach().numpy().ravel(), self.layer.bias.detach().numpy()
        return sigmoid(np.tensordot(weight, images, 1) + bias)


class Ramp(nn.Module):
    """Logits by position alone, whatever the images."""

    multiple = 1

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.from_numpy(logits))

    def forward(self, images):
        return self.logits.expand(len(images), 1, *self.logits.shape)


def test_a_whole_volume():
    network, images = Pointwise(), noise(2, 7, 8, 9)
    found = run(network, images)
    assert found.dtype == np.float32 and found.shape == (7, 8, 9)
    np.testing.assert_allclose(found, network.expected(images), atol=1e-6)
    assert [batch.shape for batch in network.batches] == [(1, 2, 7, 8, 9)]


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(*[st.integers(3, 14)] * 3),
    window=st.tuples(*[st.sampled_from([4, 5, 8, 16])] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_windows_make_no_difference_to_a_pointwise_network(size, window, overlap):
    network, images = Pointwise(), noise(2, *size)
    found = run(network, images, window=window, overlap=overlap, batch_size=2)
    np.testing.assert_allclose(found, network.expected(images), atol=1e-5)
    assert all(batch.shape[2:] == tuple(map(min, window, size)) for batch in network.batches)


def test_a_window_larger_than_the_image_is_the_image():
    """Its padding would take minutes and gigabytes, and change nothing."""
    torch.manual_seed(0)
    network, images = build("unet3d", in_channels=2, features=(2, 4, 8), dropout=(0, 0, 0)).eval(), noise(2, 9, 11, 6)
    whole = run(network, images)
    np.testing.assert_array_equal(run(network, images, window=(10**6,) * 3), whole)
    np.testing.assert_array_equal(
        run(network, images, window=(9, 11, 10**6), flips=(0,)), run(network, images, flips=(0,))
    )
    low = run(network, images, window=(8, 8, 10**6))
    np.testing.assert_array_equal(low, run(network, images, window=(8, 8, 6)))


def test_a_window_too_small_for_the_network_is_refused():
    network, images = build("unet3d", in_channels=2, features=(2, 4, 8), dropout=(0, 0, 0)).eval(), noise(2, 9, 11, 3)
    with pytest.raises(
        UserError, match=r"inference.window=\[1, 1, 1\] is too small .* multiples of 4 voxels; choose 4"
    ):
        run(network, images, window=(1, 1, 1))
    assert run(network, images, window=(4, 4, 3)).shape == (9, 11, 3)  # the whole image along the last axis


def test_windows_of_a_network_with_context_agree_where_they_cover_the_volume():
    torch.manual_seed(0)
    network, images = build("unet3d", in_channels=2, features=(2, 4), dropout=(0, 0)).eval(), noise(2, 8, 8, 6)
    whole = run(network, images)
    np.testing.assert_allclose(run(network, images, window=(8, 8, 6)), whole, atol=1e-6)
    assert np.abs(run(network, images, window=(4, 4, 4)) - whole).max() > 1e-4


def test_slices_are_stacked_again_in_their_places():
    network, images = Pointwise(dimensions=2), noise(2, 6, 7, 10)
    inside = np.zeros((6, 7, 10), bool)
    inside[2:4, 3, [1, 2, 3, 6, 8]] = True
    found = run(network, images, inside=inside, dimensions=2, batch_size=2)
    expected = network.expected(images)
    with_brain = [1, 2, 3, 6, 8]
    np.testing.assert_allclose(found[..., with_brain], expected[..., with_brain], atol=1e-6)
    assert not np.delete(found, with_brain, axis=-1).any()
    assert [len(batch) for batch in network.batches] == [2, 2, 1]
    seen = torch.cat(network.batches).numpy()
    np.testing.assert_array_equal(seen, images[..., with_brain].transpose(3, 0, 1, 2))


def test_windows_of_slices():
    network, images = Pointwise(dimensions=2), noise(2, 9, 11, 3)
    found = run(network, images, dimensions=2, window=(4, 6), batch_size=3)
    np.testing.assert_allclose(found, network.expected(images), atol=1e-5)
    assert all(batch.shape[2:] == (4, 6) for batch in network.batches)


def test_a_2d_image():
    network, images = Pointwise(dimensions=2, channels=3), noise(3, 9, 11)
    found = run(network, images, dimensions=2)
    assert found.shape == (9, 11)
    np.testing.assert_allclose(found, network.expected(images), atol=1e-6)


@pytest.mark.parametrize("flips", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_flips_average_over_every_combination_of_mirrored_axes(flips):
    logits = noise(4, 5, 6)
    found = run(Ramp(logits), noise(2, 4, 5, 6), flips=flips)
    views = [sigmoid(np.flip(logits, [a for a, on in zip(flips, mirrored, strict=True) if on]))
             for mirrored in product((False, True), repeat=len(flips))]  # fmt: skip
    np.testing.assert_allclose(found, np.mean(views, axis=0), atol=1e-6)


def test_flips_of_slices():
    logits = noise(4, 5)
    found = run(Ramp(logits), noise(2, 4, 5, 3), flips=(1,), dimensions=2)
    expected = (sigmoid(logits) + sigmoid(logits[:, ::-1])) / 2
    np.testing.assert_allclose(found, np.stack([expected] * 3, axis=-1), atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(flips=st.sets(st.integers(0, 2)).map(sorted).map(tuple))
def test_flips_are_undone(flips):
    """A network that does the same everywhere gives the same whichever way it looks."""
    network, images = Pointwise(), noise(2, 3, 4, 5)
    np.testing.assert_allclose(run(network, images, flips=flips), network.expected(images), atol=1e-6)
    assert len(network.batches) == 2 ** len(flips)


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_probabilities_are_float32_and_the_network_keeps_its_mode(autocast):
    for training in (True, False):
        network = Padded(Pointwise()).train(training)
        found = run(network, noise(2, 4, 4, 4), autocast=autocast)
        assert found.dtype == np.float32 and network.training == training
    exact = network.network.expected(noise(2, 4, 4, 4))
    assert np.abs(found - exact).max() < (1e-6 if autocast is None else 1e-2)
