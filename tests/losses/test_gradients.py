"""Derivatives, and derivatives of derivatives, against finite differences in 64 bits."""

import numpy as np
import pytest
import torch

from multifocal import losses
from multifocal.losses import Center, CriterionSum, Dice, FalseDiscoveryRate, FalseNegativeRate, Focal, Proximity
from multifocal.losses.regions import REGIONS


def scene(seed=0, shape=(2, 1, 7, 6)):
    """Logits off the threshold, so that no component changes within a finite difference."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    logits = torch.where(logits.abs() < 0.1, 0.5, logits)
    target = (torch.rand(shape, generator=generator) < 0.25).double()
    return logits.requires_grad_(), target


def read(activation, *, shape):
    """A scene as an activation wants it."""
    logits, target = scene(shape=shape)
    if activation == "none":
        logits = torch.sigmoid(logits.detach()).requires_grad_()
    if activation == "softmax":
        target = torch.cat([1 - target[:, :1], target[:, :1]], 1)
    return logits, target


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_every_loss(name, activation):
    logits, target = read(activation, shape=(2, 2, 4, 3))
    loss = losses.build(name, activation=activation, relaxed=False)
    fast = activation != "sigmoid"  # along a random direction, not one by one
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits, fast_mode=fast)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
@pytest.mark.parametrize("name", losses.names())
def test_derivatives_of_derivatives(name, activation):
    logits, target = read(activation, shape=(1, 2, 4, 3))
    loss = losses.build(name, activation=activation, relaxed=False)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), logits, fast_mode=True)


@pytest.mark.parametrize("partition", REGIONS)
def test_every_partition_has_second_derivatives(partition):
    logits, target = scene(shape=(1, 1, 4, 4), seed=1)
    loss = CriterionSum("mix", ((Dice(), 1.0), (Focal(gamma=1.5, alpha=0.3), 2.0))).over(partition).build(relaxed=False)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target), logits)


@pytest.mark.parametrize("partition", REGIONS)
def test_every_partition_in_3d(partition):
    logits, target = scene(shape=(2, 1, 4, 3, 3), seed=1)
    mix = CriterionSum("mix", ((Dice(), 1.0), (Focal(gamma=1.5, alpha=0.3), 2.0), (losses.CrossEntropy(), 0.5)))
    loss = mix.over(partition).build(relaxed=False)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


def gradient(term, logits, target, **options):
    x = logits.detach().clone().requires_grad_()
    term.build(**options)(x, target).backward()
    return x.grad


@pytest.fixture
def four():
    """A lesion found, a lesion missed, a false component, and a clear background."""
    target, logits = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), -4.0)
    target[..., 2:5, 2:5], logits[..., 3:6, 2:5] = 1, 2.0
    target[..., 2:5, 11:14] = 1
    logits[..., 11:13, 2:5] = 2.0
    places = {"found": (slice(2, 5), slice(2, 5)), "missed": (slice(2, 5), slice(11, 14)),
              "false": (slice(11, 13), slice(2, 5)), "clear": (slice(9, 16), slice(9, 16))}  # fmt: skip
    return logits, target, places


def test_the_missed_rate_is_a_count_whose_gradient_finds_the_lesion(four):
    logits, target, places = four
    assert FalseNegativeRate()(logits, target).item() == pytest.approx(0.5)
    slope = gradient(FalseNegativeRate(), logits, target)[0, 0]
    assert (slope[places["missed"]] < 0).all()
    assert np.count_nonzero(slope) == 9
    # 1 - soft Dice over the lesion, divided by N.
    p = torch.sigmoid(logits[0, 0][places["missed"]].double()).requires_grad_()
    ((1 - 2 * p.sum() / (p.sum() + p.numel())) / 2).backward()
    expected = p.grad * (p * (1 - p)).detach()
    torch.testing.assert_close(slope[places["missed"]].double(), expected, rtol=1e-5, atol=0)


def test_the_false_rate_is_a_count_whose_gradient_takes_the_component_away(four):
    logits, target, places = four
    assert FalseDiscoveryRate()(logits, target).item() == pytest.approx(0.5)
    slope = gradient(FalseDiscoveryRate(), logits, target)[0, 0]
    p = torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(slope[places["false"]], (p * (1 - p) / 6 / 2).expand(2, 3))
    assert np.count_nonzero(slope) == 6


def test_the_centre_moves_towards_the_lesion(four):
    logits, target, places = four
    slope = gradient(Center(), logits, target)[0, 0]
    component = slope[3:6, 2:5]  # one row below the lesion: less below, more above
    assert (component[0] < 0).all() and (component[2] > 0).all()
    before = logits.clone()
    before[..., 3:6, 2:5] += torch.linspace(1, -1, 3)[:, None]
    soft = Center().build()
    assert soft(logits, target).item() == soft(before, target).item()  # the value is that of whole cubes


def test_an_untouched_lesion_is_pushed_up_by_instances_and_proximity(four):
    logits, target, places = four
    for term in (Dice().over("instances"), Proximity(combine="sum")):
        assert (gradient(term, logits, target)[0, 0][places["missed"]] < 0).all()
    published = gradient(Dice().over("instances"), logits, target, relaxed=False)[0, 0]
    assert (published[places["missed"]] == 0).all()


def test_relaxations_leave_the_value(four):
    logits, target, _ = four
    for name in losses.names():
        for truth in (target, torch.zeros_like(target)):
            on, off = (losses.build(name, relaxed=relaxed)(logits, truth).item() for relaxed in (True, False))
            assert on == off
