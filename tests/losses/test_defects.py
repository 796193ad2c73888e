"""The nine defects measured on published code (design, section 3): tests named by number show each not to be
true here."""

import numpy as np
import pytest
import torch

from multifocal import losses
from multifocal.instances import label
from multifocal.losses import Center, Dice, FalseDiscoveryRate, FalseNegativeRate, GeneralizedDice, Hausdorff, Proximity


def empty(*shape):
    return torch.zeros(shape)


def slope(loss, logits, target):
    x = logits.clone().requires_grad_()
    value = loss(x, target)
    value.backward()
    return value.item(), x.grad


@pytest.fixture
def shifted():
    """A lesion and, elsewhere, a component of the same shape."""
    target, logits = empty(1, 1, 24, 24), torch.full((1, 1, 24, 24), -4.0)
    target[..., 3:7, 3:7], logits[..., 14:18, 14:18] = 1, 3.0
    return logits, target


@pytest.fixture
def mixed():
    """A lesion found in part, a lesion missed, a false component."""
    target, logits = empty(1, 1, 24, 24), torch.full((1, 1, 24, 24), -4.0)
    target[..., 3:7, 3:7], logits[..., 4:8, 3:7] = 1, 3.0
    target[..., 3:7, 16:20], logits[..., 14:16, 14:22] = 1, 3.0
    return logits, target


def test_1_every_instance_term_has_a_gradient_as_it_is_called_by_default(mixed):
    """There, a sigmoid binarises; here it does not."""
    logits, target = mixed
    x = logits.clone().requires_grad_()
    terms = losses.instance_terms(x, target, activation="sigmoid")
    terms["proximity"] = Proximity(combine="sum")(x, target)
    for name, term in terms.items():
        (found,) = torch.autograd.grad(term, x, retain_graph=True)
        assert found.norm() > 1e-3, name


def test_2_counts_and_centres_have_gradients_that_do_what_they_are_called(mixed):
    """There, they are constants, and the false loss trains its pixel term alone."""
    p = torch.sigmoid(mixed[0]).requires_grad_()
    terms = losses.instance_terms(p, mixed[1])
    slopes = {name: torch.autograd.grad(terms[name], p, retain_graph=True)[0][0, 0] for name in terms}
    assert (slopes["missed"][3:7, 16:20] < -1e-3).all()
    assert (slopes["false"][14:16, 14:22] > 1e-3).all()
    rows = slopes["center"][4:8, 3:7].mean(1)  # one row below the lesion: up
    assert rows[0] < 0 < rows[-1]
    whole, pixels = (slope(losses.build("false", relaxed=r), *mixed)[1] for r in (True, False))
    assert (whole - pixels).norm() > 1e-3


def test_3_a_total_miss_is_not_near(shifted):
    logits, target = shifted
    assert Proximity()(logits, target).item() == pytest.approx(0, abs=1e-6)  # as published
    near = logits.roll((-6, -6), (2, 3))
    one, other = (Proximity(combine="sum")(x, target).item() for x in (near, logits))
    assert 0.5 < one < other
    for term in (FalseDiscoveryRate(), FalseNegativeRate()):
        assert term(logits, target).item() == 1.0


def test_4_labels_survive_half_precision_spirals_corners_and_batches():
    many = empty(2, 1, 64, 64)
    many[..., ::3, ::3] = 1  # 484 single voxels an image, the first corner among them
    logits = (40 * many - 20).half()
    terms = losses.instance_terms(logits, many.half(), activation="sigmoid")
    assert terms["missed"].item() == terms["false"].item() == 0
    blobs = losses.build("blob-dice").terms(logits, many)["dice over blobs"]
    assert blobs.item() == pytest.approx(0, abs=2e-2) and blobs.dtype == torch.float32
    spiral = empty(1, 1, 61, 61)
    low, high = 0, 60
    while low < high:
        spiral[..., low, low:high] = spiral[..., low:high, high] = spiral[..., high, low + 1 : high + 1] = 1
        spiral[..., low + 2 : high + 1, low] = 1
        spiral[..., low + 2, low : low + 3] = 1
        low, high = low + 2, high - 2
    broken = spiral.clone()
    broken[..., 30:, :] = 0
    whole = losses.build("false").terms(20 * broken - 10, spiral)
    assert whole["missed"].item() == 0  # one lesion, found in part
    assert losses.instance_terms(spiral, spiral)["instance_gt"].item() == pytest.approx(0, abs=1e-6)


def test_5_no_lesion_is_one_too_many_and_probabilities_count_once():
    target = empty(1, 1, 60, 60)
    target[..., ::6, ::6] = 1  # 100 of them
    assert losses.instance_terms(target, target)["missed"].item() == 0
    p, lesion = empty(1, 1, 8, 8), empty(1, 1, 8, 8)
    p[..., 2, 2:6], lesion[..., 2, 2:4] = 0.6, 1
    expected = 1 - 2 * 1.2 / (2.4 + 2)  # not (0.6² · 2 + 1.2 + 2)
    assert losses.instance_terms(p, lesion)["instance_gt"].item() == pytest.approx(expected, rel=1e-5)
    for one, other in ((p, empty(1, 1, 8, 8)), (empty(1, 1, 8, 8), lesion), (empty(1, 1, 8, 8),) * 2):
        assert all(torch.isfinite(term) for term in losses.instance_terms(one, other).values())


def test_5_boxes_have_the_size_of_components():
    mask = np.zeros((1, 9, 9), bool)
    mask[0, 2:4, 3:7] = True
    lower, upper = label(mask).boxes
    assert (lower.tolist(), upper.tolist()) == ([[2, 3]], [[4, 7]])


def test_6_a_perfect_prediction_has_no_blob_loss():
    target = empty(2, 1, 32, 32)
    target[0, :, 4:9, 4:9] = target[0, :, 20:23, 4:9] = 1
    value, found = slope(losses.build("blob-dice"), 80 * target - 40, target)
    assert value < 1e-5
    nothing, found = slope(Dice().over("blobs"), torch.zeros(2, 1, 32, 32), empty(2, 1, 32, 32))
    assert nothing == 0 and (found == 0).all()


def test_7_generalized_dice_of_one_channel():
    target, logits = empty(1, 1, 400, 400), torch.full((1, 1, 400, 400), -20.0)
    target[..., :250, :] = 1
    assert GeneralizedDice()(logits, target).item() == pytest.approx(0.5, abs=0.01)  # MONAI's, by which it is known
    assert GeneralizedDice(weighting="normalized")(logits, target).item() == pytest.approx(1, abs=1e-4)
    for weighting, expected in (("monai", 0), ("normalized", 1)):
        value, found = slope(GeneralizedDice(weighting=weighting), logits + 20, torch.zeros_like(target))
        assert value == pytest.approx(expected)
        assert found.sum().item() == pytest.approx(0.25, rel=1e-3)  # of the mean p, at p = 0.5


def test_8_hausdorff_on_an_image_without_lesion():
    logits = torch.full((1, 1, 16, 16), -3.0)
    for full in (False, True):
        x = -logits if full else logits
        value, found = slope(Hausdorff(), x, torch.zeros_like(x))
        assert value > 0 and (found > 1e-6).all()
        assert slope(Hausdorff(empty="zero"), x, torch.zeros_like(x))[0] == 0  # MONAI's
    stretched = losses.build("hausdorff-dt", spacing=(1.0, 3.0))
    target, logits = empty(1, 1, 16, 16), torch.full((1, 1, 16, 16), -9.0)
    target[..., 8, 8], across, along = 1, logits.clone(), logits.clone()
    across[..., 8, 4] = along[..., 4, 8] = 9
    assert stretched(across, target) > 2 * stretched(along, target)


def test_9_errors_are_not_rewarded(shifted):
    logits, target = shifted
    right = 20 * target - 10
    for name in losses.names():
        loss = losses.build(name) if name != "proximity" else losses.build(name, combine="sum")
        assert loss(right, target) < loss(logits, target), name
    far, near = logits, logits.roll((-8, -8), (2, 3))
    assert losses.build("log-hausdorff-dt")(near, target) < losses.build("log-hausdorff-dt")(far, target)


def test_centre_has_a_gradient_where_cubes_meet(shifted):
    logits, target = shifted
    x = logits.roll((-10, -11), (2, 3)).requires_grad_()
    Center()(x, target).backward()
    assert x.grad.norm() > 0
