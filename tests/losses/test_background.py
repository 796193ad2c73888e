"""Softmax: the background is dealt with at the door."""

import pytest
import torch

from multifocal import losses
from multifocal.losses import MSSSIM, CrossEntropy, Dice, FalseNegativeRate, Focal, Hausdorff, gdf

monai = pytest.importorskip("monai.losses", reason="MONAI is not installed")

SEEN_BY_LESION = ("blobs", "instances", "predictions", "cells", "prediction-cells", "inverse-weighted")


@pytest.fixture
def two(random_batch):
    """Logits of background and lesion, the target as ones, and what a sigmoid would see."""
    logits, _ = random_batch((2, 2, 17, 13))
    lesion = torch.zeros(2, 1, 17, 13)
    lesion[:, :, 2:6, 2:5] = lesion[1, :, 9:12, 8:12] = 1
    return logits, torch.cat([1 - lesion, lesion], 1), logits[:, 1:] - logits[:, :1], lesion


@pytest.fixture
def three(random_batch):
    logits, _ = random_batch((2, 3, 17, 13))
    numbers = torch.zeros(2, 1, 17, 13)
    numbers[:, :, 2:6, 2:5], numbers[:, :, 9:12, 8:12] = 1, 2
    return logits, torch.cat([numbers == c for c in range(3)], 1).float(), numbers


def slope(loss, logits, target):
    x = logits.clone().requires_grad_()
    value = loss(x, target)
    value.backward()
    return value.item(), x.grad


@pytest.mark.parametrize("name", losses.names())
def test_two_classes_are_a_sigmoid_wherever_lesions_are_seen(name, two):
    logits, target, difference, lesion = two
    found = losses.build(name, activation="softmax").terms(logits, target)
    expected = losses.build(name).terms(difference, lesion)
    seen = [term for term in found if " over " in term or term in ("center", "missed", "false", "proximity", "ms-ssim")]
    assert seen or set(found) <= {"dice", "ce", "focal", "tversky", "jaccard", "generalized-dice", "gdf",
                                  "hausdorff-dt", "log-hausdorff-dt"}  # fmt: skip
    for term in (*seen, *(term for term in found if "hausdorff" in term)):
        assert found[term].item() == pytest.approx(expected[term].item(), rel=1e-5)


def test_the_background_is_no_lesion(two):
    logits, target, _, _ = two
    sure = 20 * target - 10
    sure[0, :, 2:6, 2:5] = torch.tensor([10.0, -10.0])[:, None, None]  # one of three lesions is missed
    assert FalseNegativeRate().build(activation="softmax")(sure, target).item() == pytest.approx(1 / 3)
    with_it = FalseNegativeRate().build(activation="softmax", include_background=True)(sure, target)
    assert with_it.item() == pytest.approx(1 / 5)  # and the background of either image is found


@pytest.mark.parametrize("where", SEEN_BY_LESION)
def test_each_class_against_the_rest(where, three):
    logits, target, _ = three
    p = torch.softmax(logits.double(), 1)
    term = gdf().over(where)
    found = term.build(activation="softmax")(logits.double(), target)
    kept = term.build(activation="none")(p[:, 1:], target[:, 1:])
    assert found.item() == pytest.approx(kept.item(), rel=1e-9)
    everything = term.build(activation="softmax", include_background=True)(logits.double(), target)
    assert everything.item() == pytest.approx(term.build(activation="none")(p, target).item(), rel=1e-9)


def test_distances_and_structure_have_no_background_either(three):
    logits, target, _ = three
    p = torch.softmax(logits, 1)
    for term in (Hausdorff(), MSSSIM()):
        found = term.build(activation="softmax")(logits, target)
        assert found.item() == pytest.approx(term.build(activation="none")(p[:, 1:], target[:, 1:]).item(), rel=1e-5)
    theirs = monai.HausdorffDTLoss(softmax=True, include_background=False)(logits, target)
    assert Hausdorff().build(activation="softmax")(logits, target).item() == pytest.approx(theirs.item(), rel=1e-5)


PAIRS = {
    "dice": "DiceLoss",
    "generalized-dice": "GeneralizedDiceLoss",
    "tversky": "TverskyLoss",
    "dice-ce": "DiceCELoss",
}


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_over_the_image_as_monai(name, include, three):
    """Cross-entropy is of the target's class whatever counts, as in MONAI."""
    logits, target, _ = three
    more = {"alpha": 0.3, "beta": 0.7} if name == "tversky" else {}
    theirs = slope(getattr(monai, PAIRS[name])(softmax=True, include_background=include, **more), logits, target)
    ours = slope(losses.build(name, activation="softmax", include_background=include), logits, target)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-8)
    if include:
        assert losses.build(name, activation="softmax")(logits, target).item() == ours[0]


def test_focal_without_background_is_of_the_softmax_of_all_classes(three):
    """MONAI's leaves the background out before the softmax."""
    logits, target, _ = three
    log_p = torch.log_softmax(logits, 1)
    expected = (-((1 - log_p.exp()) ** 2) * log_p * target)[:, 1:].mean()
    found = Focal().build(activation="softmax", include_background=False)(logits, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_cross_entropy_in_a_mix_counts_once(three):
    logits, target, _ = three
    for include in (True, False):
        options = {"activation": "softmax", "include_background": include}
        parts = [term.build(**options)(logits, target).item() for term in (Dice(), CrossEntropy())]
        assert losses.dice_ce().build(**options)(logits, target).item() == pytest.approx(sum(parts), rel=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "none"])
def test_a_channel_left_out_without_softmax(activation, random_batch):
    logits, target = random_batch((2, 3, 12, 10))
    logits = torch.sigmoid(logits) if activation == "none" else logits
    for name in ("dice", "gdf", "blob-gdf", "hausdorff-dt", "ici"):
        found = losses.build(name, activation=activation, include_background=False)(logits, target)
        assert found.item() == losses.build(name, activation=activation)(logits[:, 1:], target[:, 1:]).item()


@pytest.mark.parametrize("name", ["dice-ce", "blob-gdf", "tversky-hausdorff", "ici"])
def test_class_numbers_as_target(name, three):
    logits, target, numbers = three
    loss = losses.build(name, activation="softmax")
    for kind in (torch.uint8, torch.int64, torch.float32):
        assert loss(logits, numbers.to(kind)).item() == loss(logits, target).item()


def test_what_was_made_beforehand_loses_its_background_too(three):
    logits, target, _ = three
    loss = losses.build("hausdorff-dt", activation="softmax")
    distances = losses.target_distances(target)
    assert loss(logits, target, distances=distances).item() == pytest.approx(loss(logits, target).item(), rel=1e-5)
    loss = losses.build("blob-dice", activation="softmax")
    assert loss(logits, target, instances=target.int()).item() == loss(logits, target).item()


@pytest.mark.parametrize(
    ("options", "channels", "change", "message"),
    [
        ({"activation": "softmax"}, 3, lambda y: y * torch.tensor([0, 1, 1])[:, None, None], "expected a one in one"),
        ({"activation": "softmax"}, 3, lambda y: torch.full_like(y[:, :1], 3), "expected class numbers from 0 to 2"),
        ({"activation": "softmax"}, 3, lambda y: torch.full_like(y[:, :1], 0.5), "expected class numbers from 0 to 2"),
        ({"activation": "sigmoid"}, 3, lambda y: y[:, :1], "target has shape"),
        ({"include_background": False}, 1, lambda y: y[:, :1], "expected 2 or more with include_background=False"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options, channels, change, message, three):
    logits, target, _ = three
    with pytest.raises(ValueError, match=message):
        losses.build("dice", **options)(logits[:, :channels], change(target))


def test_sure_logits_of_many_classes_have_gradients(three):
    logits, target, _ = three
    x = (200 * logits).requires_grad_()
    value = losses.build("blob-gdf", activation="softmax")(x, target)
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all()
