"""The sweeps against plain differentiable operations: sums, gradients, and gradients asked for twice."""

import pytest
import torch

from multifocal.losses import background_sums as module
from multifocal.losses.background_sums import SumPlan, split_sums
from multifocal.losses.probabilities import LOG_PROBABILITIES, LOGITS, PROBABILITIES
from multifocal.losses.voxel_costs import CE, FocalCost, HausdorffCost, P

ACTIVATIONS = [LOGITS, LOG_PROBABILITIES, PROBABILITIES]
COSTS = {
    "p": (P,),
    "ce": (CE,),
    "both": (P, CE),
    "focal": (FocalCost(2.0), P),
    "steep": (FocalCost(0.5, 0.3),),
    "distances": (HausdorffCost(2.0, "zero"), P),
    "none": (),
}


def batch_rows(activation, costs, *, groups, dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(2, 70_000, dtype=dtype)
    x = {"logits": x, "log-probabilities": -x.abs(), "probabilities": x.sigmoid()}[activation.name].requires_grad_()
    ones = torch.sort(torch.randperm(x.numel())[:500]).values
    owner = torch.randint(0, 7, x.shape, dtype=torch.int16) if groups else None
    fields = tuple(torch.rand_like(x) if isinstance(q, HausdorffCost) else None for q in costs)
    return x, SumPlan(activation, costs, fields, ones, ones[:90], owner, 7 if groups else 2, x.shape)


def outcome(function, x, plan, *, times=1):
    """Return the sums, the voxels and the gradients of as many passes back."""
    sums, inside = function(x, plan)
    total = (sums * torch.arange(1.0, sums.numel() + 1).view_as(sums)).sum() + inside.square().sum()
    gradients = [torch.autograd.grad(total, x, retain_graph=True)[0] for _ in range(times)]
    return sums, inside, gradients


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.name)
def test_equals_plain_operations(activation, name, groups):
    x, plan = batch_rows(activation, COSTS[name], groups=groups)
    before = x.detach().clone()
    sums, inside, gradients = outcome(split_sums, x, plan, times=2)
    expected_sums, expected_inside, (expected,) = outcome(module._plain, x, plan)
    torch.testing.assert_close(sums, expected_sums, rtol=1e-10, atol=0)
    assert torch.equal(inside, expected_inside)
    for gradient in gradients:
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["p", "both"])
def test_small_sums_keep_their_digits(name):
    """What is added up beside a foreground of large probabilities is small."""
    x, plan = batch_rows(LOGITS, COSTS[name], groups=False, dtype=torch.float32)
    with torch.no_grad():
        x.mul_(0.1).sub_(18)
        x.view(-1)[plan.foreground_index] = 18
    sums = split_sums(x, plan)[0].double()
    torch.testing.assert_close(sums, module._plain(x.double(), plan)[0], rtol=2e-6, atol=0)
