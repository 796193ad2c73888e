import math

import pytest
import torch
from torch.nn import functional

from multifocal import losses
from multifocal.errors import UserError

COMPOUND = {
    "dice-ce": {"dice", "ce"},
    "dice-focal": {"dice", "focal"},
    "inverse-weighted-dice": {"dice over inverse-weighted"},
    "dice-focal-hausdorff": {"dice", "focal", "log-hausdorff-dt"},
    "tversky-hausdorff": {"tversky", "log-hausdorff-dt"},
    "tlhf": {"tversky", "log-hausdorff-dt", "focal"},
    "bce-msssim-jaccard": {"ce", "ms-ssim", "jaccard"},
    "blob-dice": {"dice", "dice over blobs"},
    "blob-gdf": {"gdf", "gdf over blobs"},
    "ici": {"gdf", "dice over instances", "center"},
    "false": {"gdf", "missed", "false"},
    "proximity": {"gdf", "proximity"},
    "cc-dice": {"dice over cells"},
    "cc-dice-ce": {"dice-ce over cells"},
    "bicc-dice-ce": {"dice-ce over cells", "dice-ce over prediction-cells"},
}
WEIGHTS = {
    "blob-gdf": {"gdf": 2.0, "gdf over blobs": 1.0},
    "ici": {"gdf": 0.25, "dice over instances": 0.5, "center": 0.25},
    "false": {"gdf": 1.0, "missed": 1.0, "false": 1.0},
    "proximity": {"gdf": 1.0, "proximity": 0.1},
    "tlhf": {"tversky": 1.5, "log-hausdorff-dt": 2.0, "focal": (2.0, 4.0)},
    "tversky-hausdorff": {"tversky": 0.9, "log-hausdorff-dt": 0.1},
}


def test_names_and_descriptions():
    assert len(losses.names()) == 23
    assert set(COMPOUND) < set(losses.names())
    for name in losses.names():
        assert losses.describe(name)
    with pytest.raises(UserError, match="unknown loss 'dise'; did you mean 'dice'.*tlhf"):
        losses.build("dise")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tversky", {"alfa": 0.3}, "options of loss tversky: unknown key 'alfa'; did you mean 'alpha'"),
        ("tversky", {"alpha": "a"}, "options of loss tversky: alpha: Input should be a valid number, found 'a'"),
        ("tlhf", {"gamma": 3}, "unknown key 'gamma'; choose from: activation, class_weights, connectivity, ign"),
        ("dice", {"batch": 1}, "batch: Input should be a valid boolean, found 1"),
        ("gdf", {"activation": "relu"}, "activation: Input should be 'sigmoid', 'softmax' or 'none'"),
        ("ici", {"side": "3"}, "side: Input should be a valid integer"),
    ],
)
def test_options_are_checked(name, options, message):
    for function in (lambda: losses.check_options(name, options), lambda: losses.build(name, **options)):
        with pytest.raises(UserError) as caught:
            function()
        assert message in str(caught.value)


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_is_the_weighted_sum_of_its_terms(name, batch):
    loss = losses.build(name)
    terms = loss.terms(*batch)
    assert set(terms) == COMPOUND.get(name, {name})
    assert all(term.ndim == 0 for term in terms.values())
    if name in WEIGHTS:
        assert loss.weights == WEIGHTS[name]
    first = {key: weight[0] if isinstance(weight, tuple) else weight for key, weight in loss.weights.items()}
    expected = sum(first[key] * value.item() for key, value in terms.items())
    assert loss(*batch).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", losses.names())
def test_the_right_answer_costs_less_than_the_wrong_one(name, batch):
    _, target = batch
    right, wrong = 20 * target - 10, 10 - 20 * target
    loss = losses.build(name)
    assert loss(right, target) < 0.01 < loss(wrong, target)


@pytest.mark.parametrize("name", losses.names())
def test_a_step_down_the_gradient_costs_less(name, batch):
    logits, target = (tensor.double() for tensor in batch)
    logits.requires_grad_()
    loss = losses.build(name, relaxed=False)
    before = loss(logits, target)
    before.backward()
    after = loss(logits - 1e-6 / logits.grad.norm() * logits.grad, target)
    assert (before - after).item() == pytest.approx(1e-6 * logits.grad.norm().item(), rel=1e-2)


def test_over_the_batch(batch):
    logits, target = batch
    p = torch.sigmoid(logits)
    expected = 1 - 2 * (p * target).sum() / (p.sum() + target.sum())
    assert losses.build("dice", batch=True)(logits, target).item() == pytest.approx(expected.item(), rel=1e-4)
    assert losses.build("dice")(logits, target).item() != pytest.approx(expected.item(), rel=1e-5)


def test_the_compounds_of_the_papers(batch):
    def one(name, **options):
        return losses.build(name, **options)(*batch).item()

    distance = math.log(1 + one("hausdorff-dt"))
    assert one("log-hausdorff-dt") == pytest.approx(distance)
    dice, focal, tversky = one("dice"), one("focal"), one("tversky")
    assert one("dice-focal-hausdorff") == pytest.approx(0.9 * (0.5 * dice + 0.5 * focal) + 0.1 * distance)
    assert one("tversky-hausdorff") == pytest.approx(0.9 * tversky + 0.1 * distance)
    assert one("dice-focal") == pytest.approx(dice + focal)
    assert one("dice-focal", balance=0.8) == pytest.approx(0.2 * dice + 0.8 * focal)
    assert one("gdf") == pytest.approx(one("generalized-dice") + focal)
    assert one("dice-ce") == pytest.approx(dice + functional.binary_cross_entropy_with_logits(*batch).item())
    assert one("blob-gdf", image=0.0) == pytest.approx(losses.build("blob-gdf").terms(*batch)["gdf over blobs"].item())


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_the_focal_weight_of_tlhf_rises_over_training(progress, weight, batch):
    loss = losses.build("tlhf")
    loss.progress = progress
    terms = loss.terms(*batch)
    expected = 1.5 * terms["tversky"] + 2 * terms["log-hausdorff-dt"] + weight * terms["focal"]
    assert loss(*batch).item() == pytest.approx(expected.item(), rel=1e-5)
