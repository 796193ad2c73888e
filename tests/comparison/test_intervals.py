"""Intervals of one evaluation's means: those of a comparison, of SciPy, and none where there are none."""

import numpy as np
import pytest
from scipy import stats

from multifocal.comparison import compare, mean_intervals

METRICS = ("dice", "masd", "nsd", "volume_difference")


@pytest.mark.parametrize("undefined", ["skip", "diagonal"])
def test_the_same_as_a_comparison_gives(methods, undefined):
    of_methods = compare(methods, metrics=METRICS, undefined=undefined, samples=300)
    for name, results in methods.items():
        found = mean_intervals(results, metrics=METRICS, undefined=undefined, samples=300)
        assert list(found) == ["all", *of_methods.strata]
        for group, ends in found.items():
            scores = of_methods.groups[group].methods[name].metrics
            assert ends == {metric: (scores[metric].low, scores[metric].high) for metric in METRICS}


def test_the_same_as_scipys_bootstrap(evaluate):
    values = np.random.default_rng(1).uniform(0, 1, 40)
    found = mean_intervals(evaluate({"dice": values}), metrics=["dice"])["all"]["dice"]
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=0).confidence_interval
    np.testing.assert_allclose(found, expected, atol=0.005)  # of two draws of 10,000 and 20,000
    assert found == mean_intervals(evaluate({"dice": values}), metrics=["dice"])["all"]["dice"]


def test_one_value_and_metrics_without_a_direction_have_none(evaluate):
    nan = float("nan")
    results = evaluate({"dice": [0.5, 0.7], "masd": [1.0, nan]}, strata=["<1 %", "<1 %"])
    assert mean_intervals(results, metrics=["dice", "masd", "true_ml"]).keys() == {"all", "<1 %"}
    assert mean_intervals(results, metrics=["dice", "masd", "true_ml"])["all"].keys() == {"dice"}
    assert mean_intervals(results, metrics=["true_ml"]) == {}
