import math

import pytest
import torch
from torch.nn import functional

from multifocal import losses
from multifocal.errors import UserError

monai = pytest.importorskip("monai.losses", reason="the extra train is not installed")

COMPOUND = {
    "dice-ce": {"dice", "ce"},
    "dice-focal": {"dice", "focal"},
    "dice-focal-hausdorff": {"dice", "focal", "log-hausdorff-dt"},
    "tversky-hausdorff": {"tversky", "log-hausdorff-dt"},
    "tlhf": {"tversky", "log-hausdorff-dt", "focal"},
}


@pytest.fixture(params=[(2, 1, 12, 10), (2, 1, 9, 8, 7)], ids=["2D", "3D"])
def batch(request):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(request.param, generator=generator)
    target = (torch.rand(request.param, generator=generator) < 0.2).float()
    return logits, target


def test_names_and_descriptions():
    assert set(COMPOUND) < set(losses.names())
    for name in losses.names():
        assert losses.describe(name).startswith("`")
    with pytest.raises(UserError, match="unknown loss 'dise'; did you mean 'dice'"):
        losses.build("dise")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tversky", {"alfa": 0.3}, "options of loss tversky: unknown key 'alfa'; did you mean 'alpha'"),
        ("tversky", {"alpha": "a"}, "options of loss tversky: alpha: Input should be a valid number, found 'a'"),
        ("tlhf", {"gamma": 3}, "options of loss tlhf: unknown key 'gamma'; there are none"),
        ("dice", {"batch": 1}, "batch: Input should be a valid boolean, found 1"),
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
    assert loss(*batch).item() == pytest.approx(loss.combine(terms).item())
    assert all(term.ndim == 0 for term in terms.values())


@pytest.mark.parametrize("name", losses.names())
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_targets_give_finite_losses_and_gradients(name, value, batch):
    logits = batch[0].clone().requires_grad_()
    loss = losses.build(name)(logits, torch.full_like(batch[1], value))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", losses.names())
def test_the_right_answer_costs_less_than_the_wrong_one(name, batch):
    _, target = batch
    right, wrong = 20 * target - 10, 10 - 20 * target
    loss = losses.build(name)
    assert loss(right, target) < 0.01 < loss(wrong, target)


def test_the_plain_ones_against_their_formulas(batch):
    logits, target = batch
    p = torch.sigmoid(logits)
    axes = tuple(range(1, p.ndim))
    inter, predicted, true = (p * target).sum(axes), p.sum(axes), target.sum(axes)
    expected = {
        "dice": (1 - 2 * inter / (predicted + true)).mean(),
        "tversky": (1 - inter / (inter + 0.3 * (predicted - inter) + 0.7 * (true - inter))).mean(),
        "focal": (-((1 - _right(p, target)) ** 2) * _right(p, target).log()).mean(),
    }
    expected["dice-focal"] = expected["dice"] + expected["focal"]
    expected["dice-ce"] = expected["dice"] + functional.binary_cross_entropy(p, target)
    for name, value in expected.items():
        assert losses.build(name)(logits, target).item() == pytest.approx(value.item(), rel=1e-4), name
    focal3 = (-((1 - _right(p, target)) ** 3) * _right(p, target).log()).mean()
    assert losses.build("focal", gamma=3.0)(logits, target).item() == pytest.approx(focal3.item(), rel=1e-4)


def test_over_the_batch(batch):
    logits, target = batch
    p = torch.sigmoid(logits)
    expected = 1 - 2 * (p * target).sum() / (p.sum() + target.sum())
    assert losses.build("dice", batch=True)(logits, target).item() == pytest.approx(expected.item(), rel=1e-4)
    assert losses.build("dice")(logits, target).item() != pytest.approx(expected.item(), rel=1e-5)


def _right(p, target):
    return torch.where(target > 0, p, 1 - p)


def test_the_hausdorff_terms(batch):
    logits, target = batch
    plain = monai.HausdorffDTLoss(sigmoid=True, include_background=True)(logits, target).item()
    assert losses.build("hausdorff-dt")(logits, target).item() == pytest.approx(plain)
    assert losses.build("log-hausdorff-dt")(logits, target).item() == pytest.approx(math.log(1 + plain), rel=1e-5)


def test_the_compounds_of_the_papers(batch):
    dice, focal = monai.DiceLoss(sigmoid=True)(*batch), monai.FocalLoss(gamma=2.0)(*batch)
    tversky = monai.TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7)(*batch)
    distance = torch.log(1 + monai.HausdorffDTLoss(sigmoid=True, include_background=True)(*batch))
    expected = {
        "dice-focal-hausdorff": 0.9 * (0.5 * dice + 0.5 * focal) + 0.1 * distance,
        "tversky-hausdorff": 0.9 * tversky + 0.1 * distance,
    }
    for name, value in expected.items():
        assert losses.build(name)(*batch).item() == pytest.approx(value.item(), rel=1e-5)
    assert losses.build("dice-focal", balance=0.5)(*batch).item() == pytest.approx(0.5 * (dice + focal).item())
    assert losses.build("dice-focal", balance=0.8)(*batch).item() == pytest.approx((0.2 * dice + 0.8 * focal).item())


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 2.0), (0.5, 3.0), (1.0, 4.0)])
def test_the_focal_weight_of_tlhf_rises_over_training(progress, weight, batch):
    loss = losses.build("tlhf")
    loss.progress = progress
    terms = loss.terms(*batch)
    expected = 1.5 * terms["tversky"] + 2 * terms["log-hausdorff-dt"] + weight * terms["focal"]
    assert loss(*batch).item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["focal"].item() == pytest.approx(monai.FocalLoss(gamma=3.0)(*batch).item())
