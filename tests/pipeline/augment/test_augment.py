import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multifocal.errors import UserError
from multifocal.pipeline.augment import Augmentation, Parameters, apply, augment, draw, new_place, turned_size
from multifocal.pipeline.augment.sampling import DrawnTurns

NAMES = [name for name in Augmentation.model_fields if name not in ("paste", "one_of")]
ALL = {name: {"p": 1} for name in NAMES}
VALUES = ("noise", "anisotropy", "blur", "gamma", "scale", "shift")
SPATIAL = {"elastic": {"p": 1, "max_displacement": 3}, "affine": {"p": 1}, "flip": {"p": 1}, "quarter_turns": {"p": 1}}


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


@pytest.mark.parametrize("name", [*NAMES, "paste"])
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
    group = [{"members": [{}, {"paste": {}}]}]
    draw(build({**ALL, "one_of": group}), channels=3, size=(64, 64, 64), generator=drawn)
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
    only = {name: {"p": 1} for name in VALUES}
    changed, _ = augment(images, target, settings=build(only), generator=rng(), prior=[3, 0])
    assert torch.equal(changed[[0, 3]], images[[0, 3]])
    assert not torch.isclose(changed[[1, 2]], images[[1, 2]]).all()


def test_channels_of_places_move_like_maps_and_keep_their_values():
    images, target = noisy((18, 16, 10), channels=4)
    images[2] = torch.linspace(-1, 1, 18)[:, None, None]
    changed, labels = augment(images, target, settings=build(ALL), generator=rng(), prior=[0], places=[2])
    spatial = {name: {"p": 1} for name in SPATIAL}
    moved, other = augment(images[[2, 0]], target, settings=build(spatial), generator=rng(), prior=[1], places=[0])
    assert torch.equal(changed[2], moved[0]) and torch.equal(labels, other)
    scans, _ = augment(images[[1, 3]], target, settings=build(ALL), generator=rng())
    assert torch.equal(changed[[1, 3]], scans)


def test_whole_numbers_of_the_target_are_kept():
    images, _ = noisy((18, 16, 10))
    target = torch.randint(0, 4, (18, 16, 10), generator=rng()).to(torch.uint8)
    target[3:6, 3:6, 3:6] = 255
    _, labels = augment(images, target, settings=build(ALL), generator=rng())
    assert set(labels.unique().tolist()) == {0, 1, 2, 3, 255}


def test_exactly_one_of_a_group_is_drawn_by_weight():
    members = [{"weight": 2}, {"weight": 1, "gamma": {"p": 1}, "flip": {"p": 1}}, {"weight": 1, "blur": {"p": 1}}]
    settings = build({"noise": {"p": 0.5}, "one_of": [{"p": 0.8, "members": members}]})
    generator, counts = rng(), {(): 0, ("gamma", "flip"): 0, ("blur",): 0}
    noisy_ones = 0
    for _ in range(2000):
        drawn = draw(settings, channels=2, size=(8, 8, 8), generator=generator)
        counts[tuple(name for name in ("gamma", "blur", "flip") if getattr(drawn, name))] += 1
        noisy_ones += drawn.noise is not None
    expected = {(): 2000 * (0.2 + 0.4), ("gamma", "flip"): 400, ("blur",): 400}
    assert counts == {key: pytest.approx(value, abs=70) for key, value in expected.items()}
    assert noisy_ones == pytest.approx(1000, abs=90)


def test_members_keep_their_own_p_and_groups_do_not_depend_on_one_another():
    one = {"p": 1, "members": [{"gamma": {"p": 0.5}}, {"gamma": {"p": 0.5}, "weight": 3}]}
    other = {"p": 1, "members": [{"flip": {"p": 1}}, {}]}
    both, alone = (build({"one_of": groups}) for groups in ([one, other], [one]))
    hits = 0
    for seed in range(400):
        two, single = (draw(s, channels=1, size=(8, 8), generator=rng(seed)) for s in (both, alone))
        assert two.gamma == single.gamma
        hits += bool(two.gamma)
    assert hits == pytest.approx(200, abs=40)


@pytest.mark.parametrize("size", [(5, 7, 4), (6, 6, 6), (5, 8)])
@pytest.mark.parametrize("plane", [(0, 1), (1, 0), (-2, -1)])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_quarter_turns_are_numpys(size, plane, count):
    plane = tuple(axis % len(size) for axis in plane)
    images, target = noisy(size)
    parameters = Parameters(quarter_turns=DrawnTurns(plane=plane, count=count))
    turned, labels = apply(images, target, parameters=parameters, prior=[1])
    expected = np.rot90(images.numpy(), count, [axis + 1 for axis in plane])
    assert np.array_equal(turned, expected) and np.array_equal(labels, np.rot90(target.numpy(), count, plane))
    assert turned_size(size, parameters) == tuple(labels.shape)
    for voxel in ((0,) * len(size), tuple(n - 1 for n in size), tuple(n // 3 for n in size)):
        mark = torch.zeros(size, dtype=torch.uint8)
        mark[voxel] = 1
        _, moved = apply(images, mark, parameters=parameters)
        assert moved[new_place(voxel, parameters, size=size, spacing=(1.0,) * len(size))]


def test_turns_are_one_two_or_three_in_any_of_the_planes():
    settings = build({"quarter_turns": {"p": 1, "planes": [[0, 1], [2, 1]]}})
    generator = rng()
    drawn = [draw(settings, channels=1, size=(8, 8, 8), generator=generator).quarter_turns for _ in range(1200)]
    for plane in ((0, 1), (2, 1)):
        for count in (1, 2, 3):
            assert sum((one.plane, one.count) == (plane, count) for one in drawn) == pytest.approx(200, abs=50)


def test_who_augments_alone_cannot_paste():
    settings = build({"one_of": [{"members": [{}, {"paste": {}}]}]})
    with pytest.raises(ValueError, match="paste takes other cases, which augment has not"):
        augment(torch.zeros(1, 8, 8), None, settings=settings, generator=rng())
    drawn = draw(build({"paste": {"p": 1}}), channels=1, size=(8, 8), generator=rng())
    with pytest.raises(ValueError, match="paste was drawn, but nothing is given"):
        apply(torch.zeros(1, 8, 8), None, parameters=drawn)


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
    assert changed.shape[0] == channels and sorted(changed.shape[1:]) == sorted(size)
    assert changed.dtype == torch.float32
    assert bool(changed.isfinite().all())
    if labelled:
        assert labels.shape == changed.shape[1:]
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


@pytest.mark.parametrize(
    ("name", "field"),
    [("flip", "axes"), ("anisotropy", "axes"), ("elastic", "locked_axes"), ("quarter_turns", "planes")],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_an_axis_the_image_lacks_is_an_error(name, field, grouped):
    said = {name: {"p": 0, field: [[0, 2]] if field == "planes" else [2]}}
    settings = build({"one_of": [{"p": 0, "members": [{}, said]}]} if grouped else said)
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
