"""Class weights against torch's and MONAI's, and against classes one by one."""

import pytest
import torch
from torch.nn import functional

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import Criterion, Dice, Hausdorff, Proximity
from multifocal.losses.regions import REGIONS, Partition

WEIGHTS = (0.5, 3.0, 1.0)


def scene(seed=0, shape=(2, 3, 12, 10)):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    numbers = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, functional.one_hot(numbers, shape[1]).movedim(-1, 1).double(), numbers


def test_cross_entropy_is_torchs():
    logits, target, numbers = scene()
    numbers[:, 3:5] = 255
    weight = torch.tensor(WEIGHTS).double()
    loss = losses.CrossEntropy().build(activation="softmax", class_weights=WEIGHTS, ignore=255)
    expected = [
        functional.cross_entropy(x[None], y[None], weight=weight, ignore_index=255)
        for x, y in zip(logits, numbers, strict=True)
    ]
    torch.testing.assert_close(loss(logits, numbers), sum(expected) / 2, rtol=1e-12, atol=0)
    whole = losses.CrossEntropy().over("image", batch=True)
    torch.testing.assert_close(
        whole.build(activation="softmax", class_weights=WEIGHTS, ignore=255)(logits, numbers),
        functional.cross_entropy(logits, numbers, weight=weight, ignore_index=255),
        rtol=1e-12,
        atol=0,
    )
    # Focal of γ = 0 is the same, of which MONAI takes the mean over channels, too.
    focal = losses.Focal(gamma=0.0).build(activation="softmax", class_weights=WEIGHTS, ignore=255)
    torch.testing.assert_close(3 * focal(logits, numbers), loss(logits, numbers), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("batch", [False, True])
def test_overlap_is_monais(name, activation, batch):
    monai = pytest.importorskip("monai.losses")
    logits, target, _ = scene()
    options = {activation: True, "batch": batch}
    if name == "tversky":  # which takes no weight
        each = monai.TverskyLoss(**options, alpha=0.3, beta=0.7, reduction="none")(logits, target).view(-1, 3)
        expected = (each * torch.tensor(WEIGHTS)).sum(1).mean() / sum(WEIGHTS)
    else:
        # MONAI's is the mean of w_c L_c: it has no Σ w_c below.
        options |= {"jaccard": True, "smooth_nr": 2e-5, "smooth_dr": 2e-5} if name == "jaccard" else {}
        expected = monai.DiceLoss(**options, weight=torch.tensor(WEIGHTS))(logits, target) * 3 / sum(WEIGHTS)
    loss = losses.build(name, activation=activation, class_weights=WEIGHTS, batch=batch)
    torch.testing.assert_close(loss(logits, target), expected.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["dice", "ce", "focal", "hausdorff-dt", "ms-ssim"])
@pytest.mark.parametrize("over", ["image", "inverse-weighted"])
def test_channels_by_themselves(name, over):
    logits, target, _ = scene()
    if over != "image" and name == "ms-ssim":
        pytest.skip("over images alone")
    term = {"term": name, **({} if name == "ms-ssim" else {"over": over})}
    build = losses.build("compound", terms=[term], class_weights=WEIGHTS)
    alone = losses.build("compound", terms=[term])
    each = [alone(logits[:, c : c + 1], target[:, c : c + 1]) for c in range(3)]
    expected = sum(w * value for w, value in zip(WEIGHTS, each, strict=True)) / sum(WEIGHTS)
    torch.testing.assert_close(build(logits, target), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("weighting", ["monai", "normalized"])
def test_generalized_dice_multiplies_its_own_weights(weighting):
    logits, target, _ = scene()
    p, true = torch.sigmoid(logits), target.sum((2, 3))
    weights = torch.tensor(WEIGHTS).double() * 3 / sum(WEIGHTS) / true**2  # of a mean of 1, beside the smoothing
    if weighting == "normalized":
        weights = weights / weights.sum(1, keepdim=True)
    over, under = (2 * (p * target).sum((2, 3)) * weights).sum(1), ((p.sum((2, 3)) + true) * weights).sum(1)
    loss = losses.build("generalized-dice", weighting=weighting, class_weights=WEIGHTS)
    expected = (1 - (over + 1e-5) / (under + 1e-5)).mean()
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("over", ["blobs", "instances", "predictions", "cells", "prediction-cells"])
def test_regions_have_the_weight_of_their_class(over):
    logits, target, _ = scene()
    target = target * (torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.2)
    heavy = losses.gdf().over(over)
    weights = (2.0, 1.0, 1.0)
    # A class of weight 2 is as if it were there twice.
    twice = [torch.cat([side[:, :1], side], 1) for side in (logits, target)]
    torch.testing.assert_close(heavy.build(class_weights=weights)(logits, target), heavy(*twice), rtol=1e-12, atol=0)
    # One of weight 0 is not there.
    torch.testing.assert_close(
        heavy.build(class_weights=(0.0, 1.0, 1.0))(logits, target), heavy(logits[:, 1:], target[:, 1:])
    )


@pytest.mark.parametrize("name", ["missed", "false", "center", "proximity", "ici", "cc-dice-ce", "bce-msssim-jaccard"])
def test_a_class_of_weight_two_is_there_twice(name):
    logits, target, _ = scene()
    target = target * (torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.2)
    if name in losses.names() and name not in ("proximity", "false"):
        build = lambda **options: losses.build(name, **options)  # noqa: E731
    else:
        terms = {"proximity": {"options": {"combine": "sum"}}}.get(name, {})
        build = lambda **options: losses.build("compound", terms=[{"term": name, **terms}], **options)  # noqa: E731
    x, wide = logits.clone().requires_grad_(), torch.cat([logits[:, :1], logits], 1).requires_grad_()
    value, expected = (
        build(class_weights=(2.0, 1.0, 1.0))(x, target),
        build()(wide, torch.cat([target[:, :1], target], 1)),
    )
    if name == "ici":  # whose generalized Dice is one ratio of all channels
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
        return
    # The cubes of `center` are smoothed as one sum, of another size.
    torch.testing.assert_close(value, expected, rtol=1e-7, atol=0)
    value.backward()
    expected.backward()
    both = torch.cat([wide.grad[:, :1] + wide.grad[:, 1:2], wide.grad[:, 2:]], 1)
    torch.testing.assert_close(x.grad, both, rtol=1e-7, atol=1e-12)


def test_the_difference_of_proximity_weighs_both_sums():
    logits, target, _ = scene()
    loss = Proximity()
    torch.testing.assert_close(loss.build(class_weights=(5.0, 5.0, 5.0))(logits, target), loss(logits, target))
    assert loss.build(class_weights=WEIGHTS)(logits, target) != loss(logits, target)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_equal_weights_change_nothing_and_others_have_derivatives(name, activation):
    logits, target, _ = scene(shape=(2, 3, 5, 4))
    logits = torch.where(logits.abs() < 0.1, 0.5, logits)
    if activation == "none":
        logits = torch.sigmoid(logits)
    even, plain = (
        losses.build(name, activation=activation, class_weights=(2, 2, 2)),
        losses.build(name, activation=activation),
    )
    torch.testing.assert_close(even(logits, target), plain(logits, target), rtol=1e-9, atol=1e-12)
    for options in ({}, {"include_background": False}):
        loss = losses.build(name, activation=activation, class_weights=WEIGHTS, relaxed=False, **options)
        x = logits.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, loss=loss: loss(x, target), x, fast_mode=True)


def test_one_number_for_each_channel():
    logits, target, _ = scene()
    for activation in ("sigmoid", "softmax"):
        with pytest.raises(ValueError, match=r"2 numbers; expected one for each channel of the logits, 3"):
            losses.build("dice", activation=activation, class_weights=(1.0, 2.0))(logits, target)
    with pytest.raises(UserError, match=r"class_weights=\(0.0, 0.0\); expected one above 0"):
        losses.build("dice", class_weights=(0, 0))
    with pytest.raises(UserError, match="class_weights"):
        losses.build("dice", class_weights=())
    with pytest.raises(UserError, match="class_weights"):
        losses.build("dice", class_weights=(1.0, -1.0))
    with pytest.raises(UserError, match="class_weights"):
        Dice().build(class_weights=(1.0, -1.0))
    with pytest.raises(ValueError, match="expected one above 0 of a channel that counts"):
        losses.build("blob-dice", activation="softmax", class_weights=(1.0, 0, 0))(logits, target)
    assert losses.check_options("dice", {"class_weights": [1, 2.5]}) is None


def test_a_class_without_a_voxel_or_a_weight():
    logits, target, _ = scene()
    numbers = torch.zeros(2, 12, 10, dtype=torch.long)
    loss = losses.CrossEntropy().build(activation="softmax", class_weights=(0.0, 1.0, 1.0))
    x = logits.clone().requires_grad_()
    value = loss(x, numbers)
    value.backward()
    assert value.item() == 0 and (x.grad == 0).all()


class Mine(Criterion):
    """A criterion of another package, which takes the plain mean over channels."""

    name = "mine"

    def values(self, sums):
        return (1 - sums.overlap / sums.true.clamp_min(1)).mean(1)


class Elsewhere(Partition):
    """A partition of another package, from before either option."""

    label = "elsewhere"

    def sums(self, batch_sums, costs, *, relaxed):
        return REGIONS["image"]().sums(batch_sums, costs, relaxed=relaxed)


def test_what_knows_nothing_of_an_option_is_refused():
    logits, target, _ = scene()
    ignore = torch.zeros(2, 12, 10, dtype=torch.bool)
    assert Mine().build(ignore=255)(logits, target, ignore=ignore).isfinite()
    with pytest.raises(UserError, match="class_weights: mine does not go by it"):
        Mine().build(class_weights=WEIGHTS)
    over = losses.criteria.Over(Dice(), Elsewhere())
    with pytest.raises(UserError, match="ignore: dice over elsewhere does not go by it"):
        over.build()(logits, target, ignore=ignore)
    with pytest.raises(UserError, match="ignore: mix over elsewhere"):
        losses.criteria.Over(losses.CriterionSum("mix", ((Dice(), 1.0),)), Elsewhere()).build(ignore=255)
    with pytest.raises(UserError, match="class_weights: mix"):
        losses.CriterionSum("mix", ((Dice(), 1.0), (Mine(), 1.0))).build(class_weights=WEIGHTS)
    assert Hausdorff().build(class_weights=WEIGHTS, ignore=255)(logits, target).isfinite()
