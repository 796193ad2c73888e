"""Bootstrap intervals, Wilcoxon's test, Holm's correction and ranks, against other ways to the same numbers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from multifocal.comparison.statistics import (
    EXACT_UP_TO,
    FEW,
    MEAN_RANKS,
    NO_CASES,
    NONE_DIFFER,
    holm,
    interval,
    mean_ranks,
    ranks,
    resampled_means,
    share_first,
    signed_rank,
)

VALUES = np.random.default_rng(0).normal(size=(3, 15))


def brute_force(values, *, samples, seed):
    """Index case by case what the counts stand for."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, values.shape[1], (samples, values.shape[1]))
    return np.array([[np.nanmean(row[places]) for places in drawn] for row in values])


def test_equal_to_indexing_case_by_case():
    values = VALUES.copy()
    values[1, 3:6] = np.nan
    np.testing.assert_allclose(
        resampled_means(values, samples=50, seed=[5, 1]), brute_force(values, samples=50, seed=[5, 1]), rtol=1e-12
    )


def test_every_row_sees_the_same_draws_and_blocks_do_not_matter():
    means = resampled_means(np.stack([VALUES[0], VALUES[0] + 1, VALUES[0]]), samples=2500, seed=[1])
    assert (means[0] == means[2]).all()
    np.testing.assert_allclose(means[1] - means[0], 1, rtol=1e-12)
    assert means.std() > 0


def test_a_sample_without_values_has_no_mean():
    means = resampled_means(np.array([[1.0, np.nan, np.nan]]), samples=500, seed=[0])[0]
    empty = np.isnan(means)
    assert empty.mean() == pytest.approx((2 / 3) ** 3, abs=0.1)
    assert (means[~empty] == 1).all()


def test_interval_is_scipys_percentile_interval():
    data = np.random.default_rng(1).exponential(size=40)
    low, high = interval(resampled_means(data[None], samples=20_000, seed=[0])[0], n=40)
    theirs = stats.bootstrap(
        (data,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.015)
    assert high == pytest.approx(theirs.high, abs=0.015)


def test_one_value_has_no_interval():
    assert interval(np.array([3.0, math.nan]), n=1) == (None, None)


def test_samples_without_values_have_no_interval():
    assert interval(np.array([math.nan, math.nan]), n=2) == (None, None)
    assert interval(np.array([math.nan, 3.0]), n=2) == (3.0, 3.0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.integers(0, 1000))
def test_interval_lies_within_the_data(data, seed):
    means = resampled_means(np.array([data]), samples=64, seed=[seed])[0]
    low, high = interval(means, n=len(data))
    assert min(data) - 1e-9 <= low <= high <= max(data) + 1e-9


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


# Rachmadi, Byra, Skibbe 2024, table 1 (A): losses GDF, blob-GDF, ICI, False, Proximity on the ADNI set.
PUBLISHED = {
    "pq": ([0.1610, 0.1689, 0.1667, 0.1653, 0.1626], [5, 1, 2, 3, 4]),
    "dice": ([0.5635, 0.5740, 0.5735, 0.5633, 0.5573], [3, 1, 2, 4, 5]),
    "volume_difference": ([1.53, 2.14, 1.30, 1.36, 1.90], [3, 5, 1, 2, 4]),
    "fdr": ([0.5576, 0.5084, 0.5720, 0.5592, 0.5275], [3, 1, 5, 4, 2]),
    "fnr": ([0.4199, 0.4285, 0.4312, 0.3963, 0.4190], [3, 4, 5, 1, 2]),
    "ppv": ([0.4038, 0.4337, 0.3972, 0.4015, 0.4336], [3, 1, 5, 4, 2]),
    "sen": ([0.5801, 0.5715, 0.5688, 0.6037, 0.5810], [3, 4, 5, 1, 2]),
    "f1": ([0.4436, 0.4653, 0.4340, 0.4449, 0.4604], [4, 1, 5, 3, 2]),
}
LOW_IS_BEST = {"volume_difference", "fdr", "fnr"}
MEANS = {"RA": [3.4, 2.3, 3.8, 2.8, 2.9], "RG": [3.0, 3.0, 1.5, 3.0, 4.5], "RI": [3.2, 2.2, 5.0, 2.6, 2.0]}


def published_ranks():
    return {
        name: ranks(np.array(values), highest_is_best=name not in LOW_IS_BEST)
        for name, (values, _) in PUBLISHED.items()
    }


def test_ranks_of_the_published_table():
    for name, found in published_ranks().items():
        assert found.tolist() == PUBLISHED[name][1], name


@pytest.mark.parametrize("name", MEANS)
def test_mean_ranks_of_the_published_table(name):
    np.testing.assert_allclose(mean_ranks(published_ranks(), MEAN_RANKS[name]), MEANS[name], atol=0.051)


def test_a_mean_rank_needs_all_of_its_metrics():
    assert np.isnan(mean_ranks(published_ranks(), MEAN_RANKS["challenge"])).all()


def test_metrics_that_rank_nobody_are_left_out_of_ra_alone():
    found = {"dice": np.array([1.0, 2.0]), "volume_difference": np.array([np.nan, np.nan])}
    assert mean_ranks(found, MEAN_RANKS["RA"]).tolist() == [1, 2]
    assert np.isnan(mean_ranks(found, MEAN_RANKS["RG"])).all()


def test_ties_share_their_places_and_no_mean_is_last():
    assert ranks(np.array([2.0, 1.0, math.nan, 1.0]), highest_is_best=False).tolist() == [3, 1.5, 4, 1.5]
    assert np.isnan(ranks(np.full(3, np.nan), highest_is_best=True)).all()


def test_means_that_are_equal_but_for_rounding_tie():
    means = np.array([np.mean([0.1, 0.2, 0.3]), np.mean([0.3, 0.2, 0.1]), 0.1])
    assert means[0] != means[1]
    assert ranks(means, highest_is_best=True).tolist() == [1.5, 1.5, 3]
    assert share_first(ranks(means[:, None], highest_is_best=True)).tolist() == [0.5, 0.5, 0]


def test_share_first_by_hand():
    places = np.array([[1.0, 1.5, 3.0, np.nan], [2.0, 1.5, 1.0, np.nan], [3.0, 3.0, 2.0, np.nan]])
    np.testing.assert_allclose(share_first(places), [1.5 / 3, 1.5 / 3, 0])
    assert np.isnan(share_first(places[:, 3:])).all()


@settings(max_examples=30, deadline=None)
@given(npst.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(0, 3).map(float)))
def test_shares_sum_to_one_and_ranks_to_their_places(means):
    places = ranks(means, highest_is_best=True)
    count = len(means)
    np.testing.assert_allclose(places.sum(axis=0), count * (count + 1) / 2)
    assert share_first(places).sum() == pytest.approx(1)
    np.testing.assert_array_equal(ranks(-means, highest_is_best=False), places)
