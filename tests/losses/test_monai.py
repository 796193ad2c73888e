"""Side by side with MONAI, values and gradients."""

import pytest
import torch
from scipy import ndimage

from multifocal import losses

monai = pytest.importorskip("monai.losses", reason="MONAI is not installed")

SHAPES = [(1, 1, 16, 12), (3, 2, 17, 13), (2, 1, 9, 8, 7), (2, 3, 8, 6, 5)]
SIGMOID = {"sigmoid": True}
PAIRS = {
    "dice": ("DiceLoss", SIGMOID, {}),
    "dice over the batch": ("DiceLoss", SIGMOID | {"batch": True}, {"batch": True}),
    "generalized-dice": ("GeneralizedDiceLoss", SIGMOID, {}),
    "generalized-dice over the batch": ("GeneralizedDiceLoss", SIGMOID | {"batch": True}, {"batch": True}),
    "focal": ("FocalLoss", {"gamma": 2.0}, {}),
    "focal of γ 3.5": ("FocalLoss", {"gamma": 3.5}, {"gamma": 3.5}),
    "focal of γ 1, α": ("FocalLoss", {"gamma": 1.0, "alpha": 0.3}, {"gamma": 1.0, "alpha": 0.3}),
    "tversky": ("TverskyLoss", SIGMOID | {"alpha": 0.3, "beta": 0.7}, {}),
    "tversky over the batch": ("TverskyLoss", SIGMOID | {"alpha": 0.6, "beta": 0.4, "batch": True},
                               {"alpha": 0.6, "beta": 0.4, "batch": True}),
    "dice-focal": ("DiceFocalLoss", SIGMOID, {}),
    "gdf": ("GeneralizedDiceFocalLoss", SIGMOID, {}),
    "hausdorff-dt": ("HausdorffDTLoss", SIGMOID | {"include_background": True}, {}),
    "hausdorff-dt of α 1": ("HausdorffDTLoss", SIGMOID | {"include_background": True, "alpha": 1.0}, {"alpha": 1.0}),
    "log-hausdorff-dt": ("LogHausdorffDTLoss", SIGMOID | {"include_background": True}, {}),
}  # fmt: skip


def assert_same(ours, theirs, logits, target, *, rel=1e-6):
    left, right = (logits.clone().requires_grad_() for _ in range(2))
    found, expected = ours(left, target), theirs(right, target)
    assert found.item() == pytest.approx(expected.item(), rel=rel)
    found.backward()
    expected.backward()
    torch.testing.assert_close(left.grad, right.grad, rtol=1e-5, atol=1e-6 * right.grad.abs().max().item())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_pixel_losses(name, shape, dtype, random_batch):
    kind, theirs, ours = PAIRS[name]
    logits, target = random_batch(shape, dtype=dtype)
    # MONAI's focal and Hausdorff compute in 32 bits whatever comes in.
    assert_same(losses.build(name.split(" ")[0], **ours), getattr(monai, kind)(**theirs), logits, target)


@pytest.mark.parametrize("shape", SHAPES[:1] + SHAPES[2:3], ids=str)
def test_dice_ce_of_one_channel(shape, random_batch):
    assert_same(losses.build("dice-ce"), monai.DiceCELoss(sigmoid=True), *random_batch(shape))


@pytest.mark.parametrize("name", ["dice", "generalized-dice", "tversky", "dice-ce", "focal"])
def test_softmax(name, random_batch):
    logits, _ = random_batch((2, 3, 9, 8))
    classes = torch.randint(3, (2, 9, 8), generator=torch.Generator().manual_seed(1))
    target = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
    kinds = {
        "dice": monai.DiceLoss(softmax=True),
        "generalized-dice": monai.GeneralizedDiceLoss(softmax=True),
        "tversky": monai.TverskyLoss(softmax=True, alpha=0.3, beta=0.7),
        "dice-ce": monai.DiceCELoss(softmax=True),
        "focal": monai.FocalLoss(use_softmax=True),
    }
    assert_same(losses.build(name, activation="softmax"), kinds[name], logits, target)


def one_hot_batch(random_batch, channels=3):
    logits, _ = random_batch((2, channels, 9, 8))
    classes = torch.randint(channels, (2, 9, 8), generator=torch.Generator().manual_seed(1))
    return logits, torch.nn.functional.one_hot(classes, channels).movedim(-1, 1).float()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("channels", [2, 3])
def test_with_softmax_alpha_is_of_the_lesions_and_the_rest_of_the_background(alpha, channels, random_batch):
    theirs = monai.FocalLoss(use_softmax=True, alpha=alpha)
    ours = losses.build("focal", activation="softmax", alpha=alpha)
    assert_same(ours, theirs, *one_hot_batch(random_batch, channels))


@pytest.mark.parametrize("name", ["dice-focal", "gdf"])
def test_monais_compounds_have_a_sigmoid_in_their_focal_part(name, random_batch):
    kind, _, _ = PAIRS[name]
    overlap = {"dice-focal": losses.Dice, "gdf": losses.GeneralizedDice}[name]()
    logits, target = one_hot_batch(random_batch)
    theirs = getattr(monai, kind)(softmax=True)(logits, target)
    focal = {how: losses.Focal().build(activation=how)(logits, target) for how in ("softmax", "sigmoid")}
    part = overlap.build(activation="softmax")(logits, target)
    torch.testing.assert_close(theirs, part + focal["sigmoid"])
    torch.testing.assert_close(losses.build(name, activation="softmax")(logits, target), part + focal["softmax"])


def test_jaccard_smooths_half(batch):
    theirs = monai.DiceLoss(sigmoid=True, jaccard=True, smooth_nr=2e-5, smooth_dr=2e-5)
    assert_same(losses.build("jaccard"), theirs, *batch)


def test_confident_logits(random_batch):
    logits, target = random_batch((2, 1, 12, 10))
    sure = 40 * torch.sign(logits)
    for name in ("focal", "gdf", "dice-focal"):
        kind, theirs, _ = PAIRS[name]
        assert_same(losses.build(name), getattr(monai, kind)(**theirs), sure, target)


def test_small_costs_are_exact(random_batch):
    """MONAI takes differences of numbers near 9 here; the truth is computed in 64 bits."""
    _, target = random_batch((2, 1, 12, 10))
    logits = torch.where(target > 0, 9.0, -9.0).requires_grad_()
    wide = logits.detach().double().requires_grad_()
    wrong = torch.sigmoid(torch.where(target > 0, -wide, wide))
    expected = -(wrong**2 * torch.log1p(-wrong)).mean()
    found = losses.build("focal")(logits, target)
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=0)
    torch.testing.assert_close(logits.grad.double(), wide.grad, rtol=1e-5, atol=0)


def test_spacing(random_batch):
    logits, target = random_batch((1, 1, 9, 8, 7), share=0.1)
    p, y = torch.sigmoid(logits).numpy()[0, 0], target.numpy()[0, 0]
    spacing = (0.5, 2.0, 3.0)
    sides = (p > 0.5, p <= 0.5, y > 0, y == 0)
    field = sum(ndimage.distance_transform_edt(side, sampling=spacing) ** 2 for side in sides)
    expected = ((p - y) ** 2 * field).mean()
    assert losses.build("hausdorff-dt", spacing=spacing)(logits, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_distances_given(alpha, random_batch):
    logits, target = random_batch((2, 2, 9, 8, 7))
    loss = losses.build("hausdorff-dt", alpha=alpha, spacing=(1.0, 2.0, 1.5))
    distances = losses.target_distances(target, spacing=(1.0, 2.0, 1.5))
    assert loss(logits, target, distances=distances).item() == pytest.approx(loss(logits, target).item(), rel=1e-5)


def test_large_sums(random_batch):
    logits, target = random_batch((1, 1, 160, 160, 40), share=0.01)
    for name in ("dice", "gdf", "tversky"):
        kind, theirs, ours = PAIRS[name]
        assert_same(losses.build(name, **ours), getattr(monai, kind)(**theirs), logits - 6, target, rel=2e-6)
