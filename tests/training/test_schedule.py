"""Learning rates against torch's schedulers, step by step."""

import math

import hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.systems.network_recipe import Constant, Cosine, Exponential, OneCycle, Plateau, Polynomial
from multifocal.training.schedule import factor

BASE = 0.5


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def rates(schedule, *, epochs, scores=()):
    """The learning rate of each epoch, when epoch n has seen n scores."""
    return [BASE * factor(schedule, epoch=e, epochs=epochs, scores=scores[:e]) for e in range(epochs)]


def test_constant():
    assert rates(Constant(), epochs=4) == [BASE] * 4


@settings(max_examples=20, deadline=None)
@given(gamma=st.floats(0.05, 1.0), epochs=st.integers(1, 30))
def test_exponential_is_torchs(gamma, epochs):
    reference = optimizer()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(reference, gamma)
    expected = []
    for _ in range(epochs):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    assert rates(Exponential(name="exponential", gamma=gamma), epochs=epochs) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(epochs=st.integers(2, 40), data=st.data())
def test_cosine_after_a_linear_warmup_is_torchs(epochs, data):
    warmup = data.draw(st.integers(0, epochs - 1))
    reference = optimizer()
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=epochs - warmup)
    expected = [BASE * (n + 1) / (warmup + 1) for n in range(warmup)]
    while len(expected) < epochs:
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        cosine.step()
    assert rates(Cosine(name="cosine", warmup=warmup), epochs=epochs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_cosine_rises_to_the_full_rate_and_never_stands_still():
    found = rates(Cosine(name="cosine", warmup=3), epochs=10)
    assert found[:4] == pytest.approx([BASE / 4, BASE / 2, BASE * 3 / 4, BASE])
    assert all(a > b > 0 for a, b in zip(found[3:], found[4:], strict=False))
    assert rates(Cosine(name="cosine", warmup=9), epochs=3) == pytest.approx([BASE * n / 10 for n in (1, 2, 3)])


@settings(max_examples=20, deadline=None)
@given(power=st.floats(0.1, 3.0), epochs=st.integers(1, 40))
def test_polynomial_is_torchs_and_nnunets(power, epochs):
    reference = optimizer()
    scheduler = torch.optim.lr_scheduler.PolynomialLR(reference, total_iters=epochs, power=power)
    expected = []
    for _ in range(epochs):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()
    found = rates(Polynomial(name="polynomial", power=power), epochs=epochs)
    assert found == pytest.approx(expected, rel=1e-6)
    assert found == pytest.approx([BASE * (1 - epoch / epochs) ** power for epoch in range(epochs)])
    assert Polynomial(name="polynomial").power == 0.9


@settings(max_examples=50, deadline=None)
@given(epochs=st.integers(2, 40), peak=st.floats(1.0, 50.0), share=st.floats(0.05, 0.95))
def test_one_cycle_is_torchs(epochs, peak, share):
    hypothesis.assume(share * epochs > 1.01)  # below, torch does not reach the peak
    reference = optimizer()
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        reference, BASE * peak, total_steps=epochs, pct_start=share, div_factor=peak, cycle_momentum=False
    )
    expected = []
    for epoch in range(epochs):
        expected.append(reference.param_groups[0]["lr"])
        reference.step()
        if epoch + 1 < epochs:
            scheduler.step()
    schedule = OneCycle(name="one-cycle", max_factor=peak, warmup_share=share)
    assert rates(schedule, epochs=epochs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_one_cycle_of_few_epochs_begins_at_its_peak(epochs):
    found = rates(OneCycle(name="one-cycle", max_factor=10, warmup_share=0.3), epochs=epochs)
    assert found[0] == BASE * 10 and all(rate > 0 for rate in found)
    assert epochs == 1 or found[-1] == pytest.approx(BASE / 10_000)


@settings(max_examples=100, deadline=None)
@given(
    scores=st.lists(st.sampled_from([-1.5, -1.0, 0.0, 0.1, 0.5, 0.5000001, 0.9]), max_size=30),
    patience=st.integers(0, 4),
    shrink=st.floats(0.1, 0.9),
)
def test_plateau_is_torchs_in_mode_max_without_threshold(scores, patience, shrink):
    reference = optimizer()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference, mode="max", factor=shrink, patience=patience, threshold=0, threshold_mode="abs", eps=0
    )
    expected = [BASE]
    for score in scores:
        scheduler.step(score)
        expected.append(reference.param_groups[0]["lr"])
    schedule = Plateau(name="plateau", factor=shrink, patience=patience)
    assert rates(schedule, epochs=len(scores) + 1, scores=scores) == pytest.approx(expected, rel=1e-9)


def test_plateau_counts_validations_not_epochs():
    schedule = Plateau(name="plateau", factor=0.1, patience=1)
    assert factor(schedule, epoch=50, epochs=99, scores=[0.5, 0.4]) == 1
    assert math.isclose(factor(schedule, epoch=3, epochs=99, scores=[0.5, 0.4, 0.5]), 0.1)
