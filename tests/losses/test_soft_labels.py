"""Labels between 0 and 1, and smoothed ones, against torch, MONAI and what the equations say."""

import pytest
import torch
from torch.nn import functional

from multifocal import losses
from multifocal.errors import UserError
from multifocal.losses import CrossEntropy, Dice, Focal, Hausdorff, Jaccard

WEIGHTS = (0.5, 3.0, 1.0)
IMAGE_ALONE = ("dice", "dice-ce", "dice-focal", "gdf", "generalized-dice", "focal", "tversky", "jaccard")


def scene(shape=(2, 3, 12, 10), *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    logits = torch.where(logits.abs() < 0.1, 0.5, logits)
    return logits, torch.rand(shape, generator=generator, dtype=torch.float64)


def classes(shape=(2, 3, 12, 10)):
    logits, shares = scene(shape)
    return logits, shares / shares.sum(1, keepdim=True)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "generalized-dice"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_overlap_is_monais(name, activation):
    monai = pytest.importorskip("monai.losses")
    logits, target = scene() if activation == "sigmoid" else classes()
    kind, options = {
        "dice": ("DiceLoss", {}),
        "jaccard": ("DiceLoss", {"jaccard": True, "smooth_nr": 2e-5, "smooth_dr": 2e-5}),
        "tversky": ("TverskyLoss", {"alpha": 0.3, "beta": 0.7}),
        "generalized-dice": ("GeneralizedDiceLoss", {}),
    }[name]
    # MONAI's generalized Dice is the one of them that takes targets in 32 bits.
    expected = getattr(monai, kind)(**{activation: True}, **options)(logits, target)
    found = losses.build(name, activation=activation, soft_labels=True)(logits, target)
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=0)


def test_cross_entropy_is_torchs():
    logits, target = scene()
    loss = CrossEntropy().build(soft_labels=True)
    expected = functional.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-12, atol=0)
    p = torch.sigmoid(logits)
    given = CrossEntropy().build(soft_labels=True, activation="none")
    torch.testing.assert_close(given(p, target), functional.binary_cross_entropy(p, target), rtol=1e-9, atol=0)
    logits, target = classes()
    loss = CrossEntropy().build(soft_labels=True, activation="softmax")
    torch.testing.assert_close(loss(logits, target), functional.cross_entropy(logits, target), rtol=1e-12, atol=0)
    # Weighed, over the weights of the shares; torch's are over the number of voxels, where labels are shares.
    weighed = CrossEntropy().over("image", batch=True)
    weighed = weighed.build(soft_labels=True, activation="softmax", class_weights=WEIGHTS)
    weight = torch.tensor(WEIGHTS).double()
    below = (target * weight.view(1, 3, 1, 1)).sum() / target.sum()
    expected = functional.cross_entropy(logits, target, weight=weight) / below
    torch.testing.assert_close(weighed(logits, target), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("alpha", [None, 0.3])
def test_focal_is_what_it_costs_on_average(alpha):
    logits, target = scene()
    p = torch.sigmoid(logits)
    one, none = -((1 - p) ** 1.5) * p.log(), -(p**1.5) * (1 - p).log()
    if alpha is not None:
        one, none = alpha * one, (1 - alpha) * none
    loss = Focal(gamma=1.5, alpha=alpha).build(soft_labels=True)
    torch.testing.assert_close(loss(logits, target), (target * one + (1 - target) * none).mean(), rtol=1e-12, atol=0)


def test_smoothing_is_torchs():
    logits, _ = scene()
    numbers = torch.randint(3, (2, 12, 10), generator=torch.Generator().manual_seed(1))
    numbers[:, 4:6] = 255
    weight = torch.tensor(WEIGHTS).double()
    pooled = CrossEntropy().over("image", batch=True)
    for options, theirs in (({}, {}), ({"class_weights": WEIGHTS}, {"weight": weight})):
        loss = pooled.build(activation="softmax", label_smoothing=0.2, ignore=255, **options)
        expected = functional.cross_entropy(logits, numbers, label_smoothing=0.2, ignore_index=255, **theirs)
        torch.testing.assert_close(loss(logits, numbers), expected, rtol=1e-12, atol=0)
    logits, target = classes()
    loss = CrossEntropy().build(activation="softmax", soft_labels=True, label_smoothing=0.2)
    expected = functional.cross_entropy(logits, target, label_smoothing=0.2)
    torch.testing.assert_close(loss(logits, target), expected, rtol=1e-12, atol=0)
    # One channel has two classes.
    hard = (target[:, :1] > 0.4).double()
    loss = CrossEntropy().build(label_smoothing=0.2)
    expected = functional.binary_cross_entropy_with_logits(logits[:, :1], 0.8 * hard + 0.1)
    torch.testing.assert_close(loss(logits[:, :1], hard), expected, rtol=1e-12, atol=0)


def test_smoothing_leaves_overlap_and_lesions_alone():
    logits, shares = scene()
    target = (shares > 0.8).double()
    for name in ("dice-ce", "dice-focal", "gdf", "blob-gdf", "ici", "tlhf", "bce-msssim-jaccard"):
        smoothed = losses.build(name, label_smoothing=0.1).terms(logits, target)
        plain = losses.build(name).terms(logits, target)
        changed = {term for term in plain if abs(smoothed[term] - plain[term]) > 1e-9}
        assert changed == {"ce", "focal", "gdf"} & set(plain), name


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_hard_labels_by_the_soft_way(name, activation):
    logits, shares = scene((2, 2, 12, 10))
    target = (shares > 0.8).double()
    if activation == "none":
        logits = torch.sigmoid(logits)
    if activation == "softmax":
        target[:, 0] = 1 - target[:, 1]
    ignore = torch.zeros(2, 12, 10, dtype=torch.bool)
    ignore[0, :3] = True
    for given in ({}, {"ignore": ignore}):
        x, y = (logits.clone().requires_grad_() for _ in range(2))
        soft = losses.build(name, activation=activation, soft_labels=True)(x, target, **given)
        hard = losses.build(name, activation=activation)(y, target, **given)
        torch.testing.assert_close(soft, hard, rtol=1e-12, atol=0)
        soft.backward()
        hard.backward()
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", IMAGE_ALONE)
def test_derivatives(name, activation):
    logits, target = classes((2, 3, 4, 3))
    logits = torch.sigmoid(logits) if activation == "none" else logits
    ignore = torch.zeros(2, 4, 3, dtype=torch.bool)
    ignore[0, 1] = True
    options = {"label_smoothing": 0.1} if name not in ("dice", "tversky", "jaccard", "generalized-dice") else {}
    loss = losses.build(name, activation=activation, soft_labels=True, class_weights=WEIGHTS, relaxed=False, **options)
    x = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, ignore=ignore), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target, ignore=ignore), x, fast_mode=True)
    (slope,) = torch.autograd.grad(loss(x, target, ignore=ignore), x)
    assert (slope[0, :, 1] == 0).all()


@pytest.mark.parametrize("over", ["blobs", "cells", "instances", "predictions", "inverse-weighted"])
def test_what_looks_at_lesions_takes_a_half_and_more(over):
    logits, shares = scene()
    shares[0, 0, 0, 0] = 0.5
    term = losses.gdf().over(over)
    hard = (shares >= 0.5).double()
    assert term.build(soft_labels=True)(logits, shares) == term.build()(logits, hard)
    for name in ("missed", "false", "center", "proximity", "ms-ssim", "hausdorff-dt"):
        terms = [{"term": name}]
        soft, plain = (losses.build("compound", terms=terms, soft_labels=kind) for kind in (True, False))
        assert soft(logits, shares) == plain(logits, hard)


def test_soft_labels_with_an_ignored_value_and_each_image_alone():
    logits, shares = scene()
    marked = shares.clone()
    marked[:, :, :4] = 255
    loss = losses.build("dice-ce", soft_labels=True, label_smoothing=0.1, ignore=255, reduction="none")
    cut = losses.build("dice-ce", soft_labels=True, label_smoothing=0.1, reduction="none")
    torch.testing.assert_close(loss(logits, marked), cut(logits[:, :, 4:], shares[:, :, 4:]), rtol=1e-12, atol=0)
    half = cut(logits.half(), shares.half())
    torch.testing.assert_close(half, cut(logits, shares).float(), rtol=1e-2, atol=0)


def test_what_cannot_be():
    logits, shares = scene()
    with pytest.raises(ValueError, match=r"target holds 0\.\d+; expected only 0 and 1, or soft_labels=True for shares"):
        Dice()(logits, shares)
    for wrong in (-0.1, 1.5, float("nan")):
        bad = shares.clone()
        bad[0, 0, 0, 0] = wrong
        with pytest.raises(
            ValueError, match="target ranges from .*; expected shares from 0 to 1 with soft_labels=True"
        ):
            Jaccard().build(soft_labels=True)(logits, bad)
    with pytest.raises(ValueError, match="channels that add up to 1, with activation='softmax'"):
        Dice().build(soft_labels=True, activation="softmax")(logits, shares)
    for term in (Dice(), Hausdorff(), losses.dice_ce().over("cells"), losses.FalseNegativeRate()):
        with pytest.raises(UserError, match=r"label_smoothing=0.1: .* has no cross-entropy or focal over the image"):
            term.build(label_smoothing=0.1)
    for wrong in (1.0, -0.1, "much"):
        with pytest.raises(UserError, match="label_smoothing"):
            losses.build("dice-ce", label_smoothing=wrong)
