"""Risk against coverage, and conformal risk control, against what defines them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multifocal.metrics.selective import risk_control, risk_coverage

RISKS = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(RISKS, st.randoms())
def test_areas_are_those_of_the_definition(risk, random):
    order = list(range(len(risk)))
    random.shuffle(order)
    found = risk_coverage(np.array(order, float), np.array(risk))
    ranked = [risk[order.index(place)] for place in range(len(risk))]
    n = len(risk)
    assert found.aurc == pytest.approx(np.mean([np.mean(ranked[: k + 1]) for k in range(n)]))
    sums = [sum(ranked[:k]) / n for k in range(n + 1)]
    assert found.augrc == pytest.approx(np.trapezoid(sums, dx=1 / n))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_augrc_of_right_and_wrong_is_that_of_the_roc(items):
    wrong, score = np.array([w for w, _ in items], float), np.array([s for _, s in items], float)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[wrong == 1] for b in score[wrong == 0]]
    auroc, share = np.mean(pairs) if pairs else 0.5, wrong.mean()
    expected = (1 - auroc) * share * (1 - share) + share**2 / 2  # Traub et al. 2024, equation 7
    assert risk_coverage(score, wrong).augrc == pytest.approx(expected)


@given(RISKS)
def test_no_order_is_better_than_that_of_the_risk_and_chance_is_the_mean(risk):
    risk = np.array(risk)
    best, worst = risk_coverage(risk, risk), risk_coverage(-risk, risk)
    chance = risk_coverage(np.zeros(len(risk)), risk)
    assert best.aurc <= chance.aurc + 1e-12 <= worst.aurc + 2e-12
    assert chance.aurc == pytest.approx(risk.mean()) and chance.augrc == pytest.approx(risk.mean() / 2)


@pytest.mark.parametrize(("uncertainty", "risk"), [([], []), ([1.0], [1.0, 2.0]), ([np.nan], [1.0]), ([1.0], [np.nan])])
def test_what_has_no_curve_is_refused(uncertainty, risk):
    with pytest.raises(ValueError, match="uncertainty"):
        risk_coverage(np.array(uncertainty), np.array(risk))


@pytest.mark.parametrize("at_most", [0.1, 0.3])
def test_the_bound_holds_on_average_over_new_cases(at_most):
    random, levels = np.random.default_rng(0), np.linspace(0, 1, 101)
    found = []
    for _ in range(1500):
        hard = random.beta(0.5, 1.5, 26)
        losses = np.clip(levels[None] * 3 - hard[:, None], 0, 1)
        found.append(losses[-1, risk_control(losses[:-1], at_most)])
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) < at_most + 2 * error
    assert np.mean(found) > at_most - 1.5 / 26  # and it is no more careful than it has to be


def test_too_few_cases_bound_nothing():
    assert risk_control(np.zeros((8, 3)), 0.1) is None and risk_control(np.zeros((9, 3)), 0.1) == 2
