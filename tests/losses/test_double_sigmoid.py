"""Focal of a doubled sigmoid against MONAI's focal loss of probabilities, which is where it comes from."""

import pytest
import torch

from multifocal import losses
from multifocal.losses import DoubleSigmoidFocal


@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(3, 1, 9, 8), (2, 2, 5, 6, 4)])
def test_equals_monai_given_probabilities(shape, gamma):
    theirs = pytest.importorskip("monai.losses").FocalLoss(gamma=gamma)
    torch.manual_seed(0)
    logits, target = torch.randn(shape, dtype=torch.float64) * 4, (torch.rand(shape) < 0.2).double()
    found, expected = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value, other = DoubleSigmoidFocal(gamma=gamma)(found, target), theirs(torch.sigmoid(expected), target)
    value.backward()
    other.backward()
    assert value.item() == pytest.approx(other.item(), rel=1e-6)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-6, atol=1e-12)
    given = DoubleSigmoidFocal(gamma=gamma).build(activation="none")(torch.sigmoid(logits), target)
    assert given.item() == pytest.approx(value.item(), rel=1e-9)


def test_background_has_a_floor_and_lesions_a_ceiling():
    right = torch.full((1, 1, 8, 8), 50.0)
    background = DoubleSigmoidFocal(gamma=2.0)(-right, torch.zeros(1, 1, 8, 8))
    lesion = DoubleSigmoidFocal(gamma=2.0)(right, torch.ones(1, 1, 8, 8))
    assert background.item() == pytest.approx(0.25 * 0.6931472, rel=1e-6)
    assert lesion.item() == pytest.approx(0.2689414**2 * 0.3132617, rel=1e-6)


def test_ignored_voxels_and_class_weights():
    torch.manual_seed(0)
    logits, target = torch.randn(2, 2, 6, 8, dtype=torch.float64), (torch.rand(2, 2, 6, 8) < 0.3).double()
    ignore = torch.zeros(2, 2, 6, 8, dtype=torch.bool)
    ignore[..., 5:] = True
    term = DoubleSigmoidFocal(gamma=3.0)
    whole = term(logits, target, ignore=ignore).item()
    assert whole == pytest.approx(term(logits[..., :5], target[..., :5]).item(), rel=1e-12)
    first, second = (term(logits[:, [c]], target[:, [c]]).item() for c in (0, 1))
    weighed = term.build(class_weights=(1.0, 3.0))(logits, target).item()
    assert weighed == pytest.approx((first + 3 * second) / 4, rel=1e-9)


def test_it_is_a_term_of_sums_in_yaml(batch):
    loss = losses.build("compound", terms=[{"term": "dice"}, {"term": "double-sigmoid-focal", "options": {"gamma": 3}}])
    assert set(loss.terms(*batch)) == {"dice", "double-sigmoid-focal"}
