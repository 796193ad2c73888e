import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multifocal.errors import UserError
from multifocal.pipeline.augment import Augmentation, apply, augment, draw

NAMES = list(Augmentation.model_fields)
ALL = {name: {"p": 1} for name in NAMES}
SPATIAL = {"elastic": {"p": 1, "max_displacement": 3}, "affine": {"p": 1}, "flip": {"p": 1}}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def build(options):
    return Augmentation.model_validate(options)


def noisy(size, *, channels=2, seed=0):
    images = torch.randn(channels, *size, generator=rng(seed))
    return images, (torch.rand(size, generator=rng(seed)) > 0.8).to(torch.uint8)


def blob(size, *, radius=0.5):
    """A ball that fills `radius` of the half-axes."""
    axes = [np.linspace(-1, 1, n) for n in size]
    return torch.from_numpy(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")) < radius**2)


@pytest.mark.parametrize("size", [(20, 17, 9), (33, 21)])
def test_same_seed_same_sample(size):
    images, target = noisy(size)
    kept = images.clone(), target.clone()
    once, again, other = (
        augment(images, target, settings=build(ALL), generator=rng(seed), prior=[1]) for seed in (1, 1, 2)
    )
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[0], other[0])
    assert not torch.equal(once[1], other[1])
    assert torch.equal(images, kept[0])
    assert torch.equal(target, kept[1])


@pytest.mark.parametrize("options", [{}, {name: {"p": 0} for name in NAMES}])
def test_nothing_drawn_nothing_changed(options):
    images, target = noisy((8, 7, 5))
    changed, labels = augment(images, target, settings=build(options), generator=rng(), prior=[0])
    assert torch.equal(changed, images)
    assert torch.equal(labels, target)


@pytest.mark.parametrize("name", NAMES)
def test_every_transform_changes_something(name):
    images, target = noisy((16, 15, 9))
    changed, labels = augment(images, target, settings=build({name: {"p": 1}}), generator=rng())
    assert not torch.equal(changed, images)
    assert torch.equal(labels, target) is (name not in SPATIAL)


@pytest.mark.parametrize("name", NAMES)
def test_p_is_how_often(name):
    settings = build({name: {"p": 0.3} | ({"axes": [1]} if name == "flip" else {})})
    generator = rng()
    drawn = [draw(settings, channels=2, size=(8, 8, 8), generator=generator) for _ in range(1000)]
    hits = sum(getattr(parameters, name) not in (None, ()) for parameters in drawn)
    assert 250 < hits < 350


@pytest.mark.parametrize("off", NAMES)
def test_switching_one_off_leaves_the_draws_of_the_others(off):
    every = draw(build(ALL), channels=2, size=(8, 8, 8), generator=rng())
    fewer = draw(build({k: v for k, v in ALL.items() if k != off}), channels=2, size=(8, 8, 8), generator=rng())
    assert getattr(fewer, off) in (None, ())
    for name in set(NAMES) - {off}:
        kept, expected = getattr(fewer, name), getattr(every, name)
        assert torch.equal(kept, expected) if name == "elastic" else kept == expected


def test_one_call_to_the_generator():
    drawn, empty = rng(), rng()
    draw(build(ALL), channels=3, size=(64, 64, 64), generator=drawn)
    draw(build({}), channels=1, size=(8, 8), generator=empty)
    assert torch.equal(drawn.get_state(), empty.get_state())


@pytest.mark.parametrize("size", [(40, 36, 28), (96, 80)])
@pytest.mark.parametrize("seed", range(4))
def test_geometry_and_mask_agree(size, seed):
    """An image that is the mask, and a prior that is the mask, end where the target ends."""
    target = blob(size).to(torch.uint8)
    images = target.float().expand(2, *size)
    moved, labels = augment(images, target, settings=build(SPATIAL), generator=rng(seed), prior=[1])
    assert torch.equal(moved[1], labels.float())
    thresholded = moved[0] >= 0.5
    assert not torch.equal(labels, target)
    dice = 2 * (thresholded & labels.bool()).sum() / (thresholded.sum() + labels.sum())
    assert dice > 0.97
    # where they differ, the interpolated value is between the two classes: within a voxel of the border
    doubtful = (moved[0] > 0.01) & (moved[0] < 0.99)
    assert not ((thresholded != labels.bool()) & ~doubtful).any()


def test_priors_keep_their_values_in_any_channel_order():
    images, target = noisy((18, 16, 10), channels=4)
    images[[0, 3]] = (images[[0, 3]] > 1).float()
    changed, _ = augment(images, target, settings=build(ALL), generator=rng(), prior=[3, 0])
    assert set(changed[[0, 3]].unique().tolist()) == {0.0, 1.0}
    scans, _ = augment(images[[1, 2]], target, settings=build(ALL), generator=rng())
    assert torch.equal(changed[[1, 2]], scans)
    only = {name: {"p": 1} for name in ("noise", "anisotropy", "blur", "gamma")}
    changed, _ = augment(images, target, settings=build(only), generator=rng(), prior=[3, 0])
    assert torch.equal(changed[[0, 3]], images[[0, 3]])
    assert not torch.isclose(changed[[1, 2]], images[[1, 2]]).all()


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    size=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    channels=st.integers(1, 3),
    data=st.data(),
    seed=st.integers(0, 999),
)
def test_any_shape_keeps_shapes_types_and_labels(size, channels, data, seed):
    images, target = noisy(size, channels=channels, seed=seed)
    prior = data.draw(st.sets(st.integers(0, channels - 1)))
    labelled = data.draw(st.booleans())
    spacing = data.draw(st.none() | st.tuples(*[st.floats(0.5, 5)] * len(size)))
    changed, labels = augment(
        images,
        target if labelled else None,
        settings=build(ALL),
        generator=rng(seed),
        spacing=spacing,
        prior=tuple(prior),
    )
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert bool(changed.isfinite().all())
    if labelled:
        assert labels.shape == target.shape
        assert labels.dtype == torch.uint8
        assert set(labels.unique().tolist()) <= {0, 1}
    else:
        assert labels is None


def test_axes_of_one_voxel_stay():
    images = torch.rand(1, 20, 20, 1, generator=rng()) + 1
    parameters = draw(build(ALL), channels=1, size=(20, 20, 1), generator=rng())
    assert parameters.anisotropy.axis != 2
    images[:, 8:12, 8:12] = 9
    changed, target = apply(images, (images[0] > 5).to(torch.uint8), parameters=parameters)
    assert int(target.sum()) > 4
    assert float(changed.amax()) > 5


def test_values_and_order_of_noncontiguous_inputs():
    images, target = noisy((12, 11, 10))
    strided = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    results = [augment(x, target, settings=build(ALL), generator=rng()) for x in (images, strided)]
    torch.testing.assert_close(results[0][0], results[1][0])


def test_parameters_travel_between_processes():
    parameters = draw(build(ALL), channels=2, size=(9, 8, 7), generator=rng())
    images, target = noisy((9, 8, 7))
    here = apply(images, target, parameters=parameters)
    there = apply(images, target, parameters=pickle.loads(pickle.dumps(parameters)))  # noqa: S301
    assert torch.equal(here[0], there[0])


@pytest.mark.parametrize(("name", "field"), [("flip", "axes"), ("anisotropy", "axes"), ("elastic", "locked_axes")])
def test_an_axis_the_image_lacks_is_an_error(name, field):
    settings = build({name: {"p": 0, field: [2]}})
    with pytest.raises(UserError, match=rf"{name}\.{field}: a 2D image has no axis 2; use axes 0 to 1"):
        augment(torch.zeros(1, 8, 8), None, settings=settings, generator=rng())


@pytest.mark.parametrize(
    ("images", "target", "options", "error", "message"),
    [
        (torch.zeros(1, 8, 8).double(), None, {}, TypeError, "images must be float32"),
        (torch.zeros(8, 8), None, {}, ValueError, "images must be"),
        (torch.zeros(1, 0, 8), None, {}, ValueError, "not empty"),
        (torch.zeros(1, 8, 8), torch.zeros(8, 8), {}, TypeError, "target must be uint8"),
        (torch.zeros(1, 8, 8), torch.zeros(8, 7, dtype=torch.uint8), {}, ValueError, r"target \(8, 7\)"),
        (torch.zeros(1, 8, 8), None, {"spacing": [1.0]}, ValueError, "spacing must be 2 positive numbers"),
        (torch.zeros(1, 8, 8), None, {"spacing": [1.0, 0.0]}, ValueError, "spacing must be 2 positive numbers"),
        (torch.zeros(1, 8, 8), None, {"spacing": [1.0, float("nan")]}, ValueError, "spacing must be"),
        (torch.zeros(1, 8, 8), None, {"prior": [1]}, ValueError, "prior must name channels 0 to 0"),
        (torch.zeros(1, 8, 8), None, {"prior": [-1]}, ValueError, "prior must name channels"),
    ],
)
def test_bad_input_is_refused(images, target, options, error, message):
    with pytest.raises(error, match=message):
        augment(images, target, settings=build({}), generator=rng(), **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("size", [(20, 17, 9), (33, 21)])
def test_cuda_gives_what_the_cpu_gives(size):
    images, target = noisy(size, channels=3)
    settings = build({name: value for name, value in ALL.items() if name != "noise"})
    here = augment(images, target, settings=settings, generator=rng(), prior=[2])
    there = augment(images.cuda(), target.cuda(), settings=settings, generator=rng(), prior=[2])
    torch.testing.assert_close(there[0].cpu(), here[0], atol=1e-4, rtol=0)
    assert (there[1].cpu() != here[1]).float().mean() < 1e-3
    with_noise, _ = augment(images.cuda(), None, settings=build(ALL), generator=rng())
    assert with_noise.is_cuda
