"""Published values whose gradients are flat take those of soft stand-ins, unless `relaxed=False`."""

import pytest
import torch

from multifocal import losses
from multifocal.losses import CriterionSum, Dice, GeneralizedDice, Jaccard, Proximity, Tversky, gdf

RATIOS = [Dice(), Jaccard(), Tversky(), GeneralizedDice(), GeneralizedDice(weighting="normalized"), gdf()]


def slope(term, logits, target, **options):
    x = logits.clone().requires_grad_()
    value = term.build(**options)(x, target)
    value.backward()
    return value.item(), x.grad


def of_mean(logits, where):
    """The gradient of the mean p over some voxels."""
    x = logits.clone().requires_grad_()
    torch.sigmoid(x[where]).mean().backward()
    return x.grad


@pytest.fixture
def false_alarm():
    """A lesion that is found, and a component of 12 voxels elsewhere."""
    logits, target = torch.full((1, 1, 24, 24), -4.0), torch.zeros(1, 1, 24, 24)
    target[..., 3:7, 3:7], logits[..., 3:7, 3:7] = 1, 2.0
    logits[..., 14:17, 14:18] = 2.0
    return logits, target, (logits > 0) & (target == 0)


def test_a_false_component_is_taken_away_by_its_mean_probability(false_alarm):
    logits, target, false = false_alarm
    term = Dice().over("predictions")
    value, found = slope(term, logits, target)
    published, flat = slope(term, logits, target, relaxed=False)
    assert value == published
    torch.testing.assert_close(found[false], of_mean(logits, false)[false] / 2)  # one of two components
    assert flat[false].abs().max() < 1e-7 < 1e-3 < found[false].min()
    assert torch.equal(found[~false], flat[~false])


def test_instance_terms_report_the_same_gradient(false_alarm):
    logits, target, false = false_alarm
    for relaxed, least in ((True, 1e-3), (False, 0)):
        x = logits.clone().requires_grad_()
        losses.instance_terms(x, target, activation="sigmoid", relaxed=relaxed)["instance_pred"].backward()
        assert (x.grad[false].min() > 1e-3) == relaxed and x.grad[false].min() >= least


def test_proximity_takes_false_components_away_in_the_sum(false_alarm):
    logits, target, false = false_alarm
    assert slope(Proximity(combine="sum"), logits, target)[1][false].min() > 1e-3
    for options in ({"relaxed": True}, {"relaxed": False}):
        assert slope(Proximity(), logits, target, **options)[1][false].abs().max() < 1e-6  # as published


@pytest.mark.parametrize("term", RATIOS, ids=str)
def test_an_empty_target_is_pushed_down_by_the_mean_probability(term, false_alarm):
    logits, _, _ = false_alarm
    target = torch.zeros_like(logits)
    value, found = slope(term, logits, target)
    published, flat = slope(term, logits, target, relaxed=False)
    assert value == published
    torch.testing.assert_close(found - flat, of_mean(logits, logits < 9), rtol=1e-3, atol=1e-8)
    assert found[logits > 0].min() > 1e-4


@pytest.mark.parametrize("term", RATIOS, ids=str)
def test_targets_with_a_lesion_are_left_as_they_are(term, false_alarm):
    logits, target, _ = false_alarm
    for where in ("image", "blobs", "instances", "cells", "inverse-weighted"):
        on, off = (slope(term.over(where), logits, target, relaxed=relaxed)[1] for relaxed in (True, False))
        assert torch.equal(on, off)


def test_each_empty_image_and_channel_by_itself(false_alarm):
    logits, target, _ = false_alarm
    pair, truth = torch.cat([logits, logits]), torch.cat([target, torch.zeros_like(target)])
    found = slope(Dice(), pair, truth)[1]
    torch.testing.assert_close(found[:1], slope(Dice(), logits, target)[1] / 2)
    torch.testing.assert_close(found[1:], slope(Dice(), logits, 0 * target)[1] / 2)
    swapped = [side.transpose(0, 1).contiguous() for side in (pair, truth)]
    torch.testing.assert_close(slope(Dice(), *swapped)[1], found.transpose(0, 1))
    whole = Dice().over("image", batch=True)  # together they are not empty
    assert torch.equal(slope(whole, pair, truth)[1], slope(whole, pair, truth, relaxed=False)[1])


def test_cells_and_weights_of_an_empty_image(false_alarm):
    logits, _, false = false_alarm
    target = torch.zeros_like(logits)
    for where in ("cells", "inverse-weighted"):
        expected = slope(Dice(), logits, target)[1]
        torch.testing.assert_close(slope(Dice().over(where), logits, target)[1], expected)
    found = slope(CriterionSum("mix", ((Dice(), 1.0),)).over("prediction-cells"), logits, target)[1]
    assert found.min() > 0 and found[logits > 0].min() > 1e-4


def test_derivatives_of_stand_ins_have_derivatives(false_alarm):
    logits, target, false = false_alarm
    x = logits.double().requires_grad_()
    loss = Dice().over("predictions").build()
    (first,) = torch.autograd.grad(loss(x, target), x, create_graph=True)
    (second,) = torch.autograd.grad(first[false].sum(), x)
    p = torch.sigmoid(logits.double())
    torch.testing.assert_close(second[false], (p * (1 - p) * (1 - 2 * p) / 24)[false])
