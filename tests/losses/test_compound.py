import pytest
import torch
from torch import nn

from multifocal.losses import WeightedSum


def test_the_sum_the_ramp_and_the_gradient():
    loss = WeightedSum({"l1": nn.L1Loss(), "l2": nn.MSELoss()}, {"l1": 1, "l2": (2.0, 4.0)})
    prediction = torch.full((3,), 2.0, requires_grad=True)
    for progress, value in ((0.0, 10.0), (0.25, 12.0), (1.0, 18.0)):
        loss.progress = progress
        assert loss(prediction, torch.zeros(3)).item() == pytest.approx(value)
    loss(prediction, torch.zeros(3)).backward()
    assert prediction.grad.tolist() == pytest.approx([(1 + 4 * 2 * 2) / 3] * 3)


def test_terms_are_unweighted():
    loss = WeightedSum({"l1": nn.L1Loss()}, {"l1": 7.0})
    assert loss.terms(torch.ones(2), torch.zeros(2)) == {"l1": torch.tensor(1.0)}


def test_parameters_of_terms_are_found():
    assert len(list(WeightedSum({"a": nn.Linear(1, 1)}, {"a": 1.0}).parameters())) == 2
