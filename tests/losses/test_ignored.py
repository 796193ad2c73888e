"""Ignored voxels: each loss against itself on images from which they were cut away."""

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import MSSSIM
from multifocal.losses.ignored import frames_of, known_border_fields
from multifocal.losses.precomputed import target_cells, target_distances

PAD = (3, 0, 0, 5)  # of the last axis before, of the one before it behind


def scene(shape, activation="sigmoid", *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    logits = torch.where(logits.abs() < 0.1, 0.5, logits)
    target = (torch.rand(shape, generator=generator) < 0.15).double()
    if activation == "none":
        logits = torch.sigmoid(logits)
    if activation == "softmax":
        target = torch.cat([1 - target[:, :1], target[:, :1]], 1)
    return logits, target


def padded(logits, target, *, value=float("nan")):
    """Return both with a slab of lesion around them in which logits are nothing, and where that is."""
    outside = functional.pad(torch.zeros(target.shape, dtype=torch.bool), PAD, value=True)
    return functional.pad(logits, PAD, value=value), functional.pad(target, PAD, value=1.0), outside


def inner(array):
    return functional.pad(array, [-side for side in PAD])


def graded(loss, logits, target, **given):
    x = logits.detach().clone().requires_grad_()
    value = loss(x, target, **given)
    value.backward()
    return value.detach(), x.grad


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("shape", [(2, 2, 12, 10), (2, 2, 9, 8, 7)], ids=["2D", "3D"])
@pytest.mark.parametrize("name", sorted(set(losses.names()) - {"bce-msssim-jaccard"}))
def test_as_if_the_image_ended_there(name, shape, activation):
    logits, target = scene(shape, activation)
    loss = losses.build(name, activation=activation, spacing=(1.0, 1.5, 2.0)[: len(shape) - 2])
    value, gradient = graded(loss, logits, target)
    wide, truth, outside = padded(logits, target)
    found, slope = graded(loss, wide, truth, ignore=outside)
    torch.testing.assert_close(found, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(inner(slope), gradient, rtol=1e-9, atol=1e-15)
    assert (slope[outside] == 0).all()


@pytest.mark.parametrize("partition", ["image", "blobs", "instances", "predictions", "cells", "prediction-cells"])
def test_the_value_255_is_the_mask(partition):
    logits, target = scene((2, 2, 12, 10))
    wide, truth, outside = padded(logits, target, value=7.0)
    loss = losses.gdf().over(partition)
    expected = loss.build()(wide, truth, ignore=outside)
    for kind in (torch.float64, torch.uint8, torch.int64, torch.float16):
        marked = truth.to(kind).masked_fill(outside, 255)
        assert loss.build(ignore=255)(wide, marked) == expected
    # A type that cannot hold a value has no voxel of it, also where the value would come around.
    assert loss.build(ignore=-1)(wide, truth.byte(), ignore=outside) == expected
    assert loss.build(ignore=256)(wide, truth.byte()) == loss.build()(wide, truth)
    # Masks of all channels, and of both ways at once.
    assert loss.build()(wide, truth, ignore=outside[:, :1]) == expected
    assert loss.build()(wide, truth, ignore=outside[:, 0]) == expected
    half = outside.clone()
    half[..., :2] = False
    assert loss.build(ignore=255)(wide, truth.masked_fill(outside, 255), ignore=half) == expected


def test_channels_are_ignored_by_themselves_with_a_sigmoid_and_together_with_softmax():
    logits, target = scene((1, 2, 8, 8))
    mask = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    mask[:, 0, 2:5] = True
    by_channel = losses.build("dice")(logits, target, ignore=mask)
    parts = [
        losses.build("dice")(logits[:, c : c + 1], target[:, c : c + 1], ignore=mask[:, c : c + 1]) for c in (0, 1)
    ]
    torch.testing.assert_close(by_channel, sum(parts) / 2)
    logits, target = scene((1, 2, 8, 8), "softmax")
    for name in ("dice-ce", "gdf", "blob-dice", "hausdorff-dt"):
        loss = losses.build(name, activation="softmax")
        assert loss(logits, target, ignore=mask) == loss(logits, target, ignore=mask[:, 0])


@pytest.mark.parametrize("name", ["dice-ce", "gdf", "blob-gdf", "cc-dice-ce", "ici", "tversky-hausdorff"])
def test_class_numbers(name):
    logits, target = scene((2, 3, 9, 9))
    numbers = torch.argmax(target, 1)
    outside = torch.zeros(2, 9, 9, dtype=torch.bool)
    outside[:, 6:] = True
    loss = losses.build(name, activation="softmax", ignore=255)
    expected = losses.build(name, activation="softmax")(logits[..., :6, :], numbers[:, :6])
    hot = functional.one_hot(numbers, 3).movedim(-1, 1)
    marked = numbers.masked_fill(outside, 255)
    ways = [marked, marked[:, None], marked.byte(), hot.masked_fill(outside[:, None], 255)]
    for truth in ways:
        torch.testing.assert_close(loss(logits, truth), expected, rtol=1e-12, atol=0)
    # A class that is ignored, as torch has it.
    torch.testing.assert_close(
        losses.build("compound", terms=[{"term": "ce"}], activation="softmax", ignore=0)(logits[:1], numbers[:1]),
        functional.cross_entropy(logits[:1], numbers[:1], ignore_index=0),
    )


def test_cross_entropy_is_torchs_with_an_index_to_ignore():
    logits, target = scene((1, 4, 9, 9))
    numbers = torch.argmax(target + torch.rand(1, 4, 9, 9), 1)
    numbers[:, 2:5] = 255
    loss = losses.CrossEntropy().build(activation="softmax", ignore=255)
    expected = functional.cross_entropy(logits, numbers, ignore_index=255)
    torch.testing.assert_close(loss(logits, numbers), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["hausdorff-dt", "cc-dice-ce", "bicc-dice-ce", "blob-dice", "tlhf"])
def test_what_is_given_beforehand(name):
    logits, target = scene((2, 2, 12, 10))
    wide, truth, outside = padded(logits, target)
    spacing = (1.0, 1.5)
    loss = losses.build(name, spacing=spacing)
    expected = loss(wide, truth, ignore=outside)
    given = {
        "distances": target_distances(truth, spacing=spacing, ignore=outside),
        "cells": target_cells(truth, spacing=spacing, ignore=outside),
        "instances": torch.from_numpy(labels(truth)),
    }
    marked = truth.masked_fill(outside, 255)
    assert torch.equal(given["distances"], target_distances(marked, spacing=spacing, ignore=255))
    assert torch.equal(given["cells"], target_cells(marked, spacing=spacing, ignore=255))
    assert torch.equal(inner(given["distances"]), target_distances(target, spacing=spacing))
    assert torch.equal(inner(given["cells"]), target_cells(target, spacing=spacing))
    names = ["distances", "cells"]
    found = loss(wide, truth, ignore=outside, **{name: given[name] for name in names})
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    # Labels that do not stop at what is ignored.
    lone, there = torch.zeros(1, 1, 9, 9), torch.zeros(1, 9, 9, dtype=torch.bool)
    lone[..., 2:7, 2:4] = 1
    there[:, 5:] = True
    alone = loss(lone - 0.5, lone, ignore=there)
    assert loss(lone - 0.5, lone, ignore=there, instances=lone.int() * 4) == alone


def labels(target):
    from scipy import ndimage

    full = np.ones((3, 3))
    return np.stack([[ndimage.label(side, structure=full)[0] for side in image] for image in target.numpy()])


def test_a_distance_across_what_is_ignored_is_longer():
    target = torch.tensor([[[[1, 1, 255, 255, 0, 0]]]])
    distances = target_distances(target, ignore=255)
    assert distances.tolist() == [[[[4.0, 3.0, 0.0, 0.0, 3.0, 4.0]]]]
    loss = losses.Hausdorff(alpha=1.0).build(ignore=255)
    logits = torch.tensor([[[[9.0, -9.0, 9.0, -9.0, -9.0, 9.0]]]])
    # Both wrong voxels: of the target 3 and 4, of the prediction each one step from the border.
    expected = ((3 + 1) + (4 + 1)) / 4
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-3)
    assert loss(logits, target, distances=distances) == loss(logits, target)
    wrong = distances.clone()
    wrong[..., 0] = 0
    with pytest.raises(ValueError, match="not above 0 exactly where images have a border"):
        loss(logits, target, distances=wrong)


def test_instance_terms():
    logits, target = scene((2, 2, 12, 10), "none")
    wide, truth, outside = padded(logits, target)
    expected = losses.instance_terms(logits, target)
    marked = truth.masked_fill(outside, 255)
    for found in (
        losses.instance_terms(wide, truth, ignore=outside),
        losses.instance_terms(
            wide, marked, ignore=255, instances=torch.from_numpy(labels(truth.masked_fill(outside, 0)))
        ),
    ):
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=0)


def test_a_lesion_is_cut_in_two_by_what_is_ignored():
    target, logits = torch.zeros(1, 1, 9, 9), torch.full((1, 1, 9, 9), -9.0)
    target[..., 4, 1:8] = 1
    logits[..., 4, 1:4] = 9.0
    ignore = torch.zeros(1, 9, 9, dtype=torch.bool)
    ignore[..., 4] = True
    missed = losses.FalseNegativeRate().build(relaxed=False)
    assert missed(logits, target).item() == 0
    assert missed(logits, target, ignore=ignore).item() == 0.5


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_derivatives(name, activation):
    logits, target = scene((2, 2, 4, 4), activation, seed=3)
    ignore = torch.zeros(2, 4, 4, dtype=torch.bool)
    ignore[0, 1:3, 2:] = ignore[1, :, 0] = True
    loss = losses.build(name, activation=activation, relaxed=False)
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, ignore=ignore), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target, ignore=ignore), x, fast_mode=True)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_an_image_of_which_nothing_is_left(name, activation):
    logits, target = scene((2, 2, 9, 8), activation)
    loss = losses.build(name, activation=activation)
    everything = torch.ones(2, 9, 8, dtype=torch.bool)
    value, slope = graded(loss, torch.full_like(logits, float("nan")), target, ignore=everything)
    assert value.item() == 0 and (slope == 0).all()
    # Beside another one it costs nothing, and counts as an image.
    ignore = everything.clone()
    ignore[0] = False
    value, slope = graded(loss, logits, target, ignore=ignore)
    assert value.isfinite() and slope.isfinite().all() and (slope[1] == 0).all()
    alone = losses.build("dice", activation=activation)
    whole = alone(logits, target, ignore=ignore)
    torch.testing.assert_close(whole, alone(logits[:1], target[:1]) / 2, rtol=1e-12, atol=0)


def test_similarity_of_the_windows_without_an_ignored_voxel():
    logits, target = scene((2, 1, 96, 96))
    value, gradient = graded(MSSSIM(), logits, target)
    # 16 voxels are whole ones at every scale, so windows at every scale are those of the smaller image.
    pad = (16, 0, 0, 16)
    wide, truth = (functional.pad(side, pad) for side in (logits, target))
    ignore = functional.pad(torch.zeros(2, 1, 96, 96, dtype=torch.bool), pad, value=True)
    found, slope = graded(MSSSIM(), wide, truth, ignore=ignore)
    torch.testing.assert_close(found, value, rtol=1e-12, atol=0)
    torch.testing.assert_close(slope[..., :96, 16:], gradient, rtol=1e-9, atol=1e-15)
    # A single voxel takes away the windows that hold it.
    single = torch.zeros(2, 96, 96, dtype=torch.bool)
    single[0, 40, 40] = True
    assert MSSSIM()(logits, target, ignore=single) != value
    # One in each window takes away all.
    single[:, ::8, ::8] = True
    assert MSSSIM()(logits, target, ignore=single).item() == 0


def test_similarity_in_parts(monkeypatch):
    logits, target = scene((2, 1, 40, 30))
    ignore = torch.zeros(2, 40, 30, dtype=torch.bool)
    ignore[0, 33:], ignore[1, :, :4] = True, True
    whole = MSSSIM()(logits, target, ignore=ignore)
    monkeypatch.setattr(losses.ms_ssim, "_AT_ONCE", 1)
    torch.testing.assert_close(MSSSIM()(logits, target, ignore=ignore), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_what_scattered_ignored_voxels_hold_changes_nothing(name, activation):
    logits, target = scene((2, 2, 12, 10), activation, seed=5)
    ignore = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(6)) < 0.3
    loss = losses.build(name, activation=activation)
    value, slope = graded(loss, logits, target, ignore=ignore)
    assert (slope[ignore.expand_as(slope)] == 0).all()
    other = torch.where(ignore, torch.inf, logits), torch.where(ignore, 1 - target, target)
    for one, two in zip((value, slope), graded(loss, *other, ignore=ignore), strict=True):
        assert torch.equal(one, two)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(st.integers(0, 2**32 - 1), st.sampled_from([(1, 5, 6), (2, 4, 3, 5)]))
def test_distances_to_what_is_known(seed, shape):
    rng = np.random.default_rng(seed)
    ignored = rng.random(shape) < 0.3
    masks = (rng.random(shape) < 0.3) & ~ignored
    spacing = (1.0, 2.5, 0.5)[: len(shape) - 1]
    found = known_border_fields(torch.from_numpy(masks), torch.from_numpy(ignored), spacing=spacing, power=1.0).numpy()
    for mask, hidden, distances in zip(masks, ignored, found, strict=True):
        sides = np.argwhere(mask) * spacing, np.argwhere(~mask & ~hidden) * spacing
        for place in np.argwhere(~hidden):
            others = sides[int(mask[tuple(place)])]
            nearest = np.linalg.norm(others - place * np.array(spacing), axis=1).min() if len(others) else 0
            assert distances[tuple(place)] == pytest.approx(nearest, rel=1e-6)
        assert not distances[hidden].any()


def test_a_mask_of_nothing_changes_no_bit():
    logits, target = (side.float() for side in scene((2, 2, 12, 10)))
    nothing = torch.zeros(2, 12, 10, dtype=torch.bool)
    for name in losses.names():
        loss = losses.build(name, ignore=255)
        for one, other in zip(
            graded(losses.build(name), logits, target), graded(loss, logits, target, ignore=nothing), strict=True
        ):
            assert torch.equal(one, other)


def test_boxes_of_what_is_left():
    known = np.zeros((2, 4, 5), bool)
    known[0, 1:3, 2] = True
    lower, upper = frames_of(known)
    assert lower.tolist() == [[1, 2], [0, 0]] and upper.tolist() == [[3, 3], [0, 0]]


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"ignore": 1}, {}, "ignore=1; expected another value than the target's 0 and 1"),
        ({"ignore": 0.5}, {}, "ignore: Input should be a valid integer, found 0.5"),
        ({}, {"ignore": torch.ones(1, 1, 4, 4)}, "ignore has dtype torch.float32; expected a boolean tensor"),
        ({}, {"ignore": np.ones((1, 4, 4), bool)}, "ignore is a ndarray; expected a boolean tensor"),
        ({}, {"ignore": torch.ones(1, 3, 4, dtype=torch.bool)}, r"ignore has shape \(1, 3, 4\); expected \(1, 4, 4\)"),
        ({}, {"ignore": torch.ones(1, 3, 4, 4, dtype=torch.bool)}, r"or that of the logits, \(1, 2, 4, 4\)"),
    ],
)
def test_bad_input(options, given, message):
    logits, target = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    with pytest.raises((ValueError, UserError), match=message):
        losses.build("dice", **options)(logits, target, **given)


def test_what_is_not_ignored_is_still_checked():
    logits, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    target[..., 0, 0] = 255
    ignore = torch.zeros(1, 4, 4, dtype=torch.bool)
    ignore[0, 1, 1] = True
    with pytest.raises(ValueError, match="target holds 255; expected only 0 and 1"):
        losses.build("dice")(logits, target, ignore=ignore)
    logits[..., 0, 0] = float("nan")
    with pytest.raises(ValueError, match="logits holds NaN"):
        losses.build("dice", ignore=254)(logits, target, ignore=ignore)
    assert losses.build("dice", ignore=255)(logits, target, ignore=ignore).isfinite()
    with pytest.raises(ValueError, match=r"target has shape \(1, 1, 3, 4\); expected that of logits"):
        losses.build("dice", ignore=255)(logits, target[..., 1:, :], ignore=ignore)
