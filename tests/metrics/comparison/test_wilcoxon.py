"""The signed-rank test against SciPy and every choice of signs; Holm by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multifocal.metrics.comparison.wilcoxon import EXACT_UP_TO, FEW, NO_CASES, NONE_DIFFER, holm, signed_rank


@pytest.mark.parametrize("count", [6, 13, 30, EXACT_UP_TO])
def test_without_ties_equal_to_scipys_exact_test(count):
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    found = signed_rank(differences)
    assert found.p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-12)
    assert (found.nonzero, found.note) == (count, "")


def every_sign(differences):
    """The share of all signs whose sum of positive ranks is as far from the middle as the one found, or farther."""
    places = stats.rankdata(np.abs(differences))
    middle = places.sum() / 2
    found = abs(places[differences > 0].sum() - middle)
    sums = [sum(itertools.compress(places, signs)) for signs in itertools.product([False, True], repeat=len(places))]
    return np.mean([abs(total - middle) >= found - 1e-9 for total in sums])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-4, 4).filter(bool), min_size=1, max_size=9))
def test_with_ties_equal_to_every_choice_of_signs(differences):
    differences = np.array(differences, float)
    assert signed_rank(differences).p == pytest.approx(every_sign(differences), rel=1e-12)


def test_with_ties_equal_to_scipys_permutations():
    differences = np.array([1.0, 1, 2, -1, 3, 3, 2, -4])
    assert signed_rank(differences).p == pytest.approx(stats.wilcoxon(differences, method="auto").pvalue, rel=1e-12)


def test_beyond_the_exact_range_scipys_approximation():
    differences = np.random.default_rng(0).normal(0.2, 1, EXACT_UP_TO + 1)
    assert signed_rank(differences).p == stats.wilcoxon(differences, method="asymptotic").pvalue
    exact = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank(differences).p == pytest.approx(exact, rel=0.05)


def test_zeros_are_dropped_and_counted():
    differences = np.array([0.0, 1.5, 0.5, -2.5, 0.0, 3.5, 4.5, 5.5, 6.5])
    found = signed_rank(differences)
    assert found.p == stats.wilcoxon(differences[differences != 0], method="exact").pvalue
    assert found.nonzero == 7


def test_limits_are_said():
    assert signed_rank(np.zeros(0)).p is None and signed_rank(np.zeros(0)).note == NO_CASES
    same = signed_rank(np.zeros(9))
    assert (same.p, same.nonzero, same.note) == (1.0, 0, NONE_DIFFER)
    few = signed_rank(np.arange(1.0, 6.0))
    assert (few.p, few.note) == (0.0625, FEW)
    assert signed_rank(np.arange(1.0, 7.0)).p < 0.05


def test_rounding_errors_do_not_break_ties():
    differences = np.array([0.3 - 0.2, 0.2 - 0.1, 0.1 - 0.0, 0.4 - 0.5, 0.9 - 0.9, 1.0, 2.0, 3.0])
    assert signed_rank(differences).p == signed_rank(np.array([0.1, 0.1, 0.1, -0.1, 0, 1.0, 2.0, 3.0])).p


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.04, 0.04, 0.04], [0.12, 0.12, 0.12]),
        ([], []),
        ([None, 0.01, None, 0.02], [None, 0.02, None, 0.02]),
    ],
)
def test_holm_by_hand(p_values, corrected):
    assert holm(p_values) == [None if p is None else pytest.approx(p) for p in corrected]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    found = holm(p_values)
    assert all(p <= q <= min(1, len(p_values) * p) + 1e-12 for p, q in zip(p_values, found, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
