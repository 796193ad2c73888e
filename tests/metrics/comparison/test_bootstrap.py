"""Resampled means against loops and SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multifocal.metrics.comparison.bootstrap import interval, resampled_means

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
