"""Ranks, their means and who is first, against the published tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from multifocal.metrics.comparison.ranks import MEAN_RANKS, mean_ranks, ranks, share_first

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
