"""Comparisons as a whole, by brute force and by what must not matter."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from multifocal.comparison import compare
from multifocal.evaluation import Results

NAN = math.nan
METRICS = ["dice", "masd", "nsd", "volume_difference"]


def column(results, name):
    return np.array([row[name] for row in sorted(results.rows, key=lambda row: row["case"])])


def test_scores_by_hand(methods):
    found = compare(methods, samples=200).overall
    for name, results in methods.items():
        masd, volume = column(results, "masd"), column(results, "volume_difference")
        score = found.methods[name].metrics["masd"]
        assert score.mean == pytest.approx(np.nanmean(masd))
        assert (score.n, score.undefined, score.rule) == (
            int((~np.isnan(masd)).sum()),
            int(np.isnan(masd).sum()),
            "skip",
        )
        score = found.methods[name].metrics["volume_difference"]
        assert score.mean == pytest.approx(np.abs(volume).mean())
        assert score.signed_mean == pytest.approx(volume.mean())
        assert found.methods[name].metrics["dice"].signed_mean is None
    assert found.cases == 20


def test_intervals_ranks_and_firsts_by_brute_force(methods):
    samples = 300
    found = compare(methods, samples=samples, seed=4).overall
    drawn = np.random.default_rng([4, 0]).integers(0, 20, (samples, 20))
    means = {
        metric: np.array(
            [
                [
                    np.nanmean(np.abs(values[places]) if metric == "volume_difference" else values[places])
                    for places in drawn
                ]
                for values in (column(results, metric) for results in methods.values())
            ]
        )
        for metric in METRICS
    }
    places = {
        metric: np.array([stats.rankdata(-column if metric in ("dice", "nsd") else column) for column in values.T]).T
        for metric, values in means.items()
    }
    challenge = (places["dice"] + places["masd"] + places["nsd"]) / 3
    for k, method in enumerate(found.methods.values()):
        for metric in METRICS:
            score = method.metrics[metric]
            assert [score.low, score.high] == pytest.approx(np.percentile(means[metric][k], [2.5, 97.5]).tolist())
            assert score.first == pytest.approx((places[metric][k] == 1).mean())
        best = np.isclose(challenge, challenge.min(axis=0))
        assert method.mean_ranks["challenge"].first == pytest.approx((best[k] / best.sum(axis=0)).mean())
        rank = np.mean([method.metrics[metric].rank for metric in ("dice", "masd", "nsd")])
        assert method.mean_ranks["challenge"].rank == pytest.approx(rank)
        assert method.mean_ranks["RI"].rank is None
    difference = found.pairs[0].metrics["dice"]
    assert [difference.low, difference.high] == pytest.approx(
        np.percentile(means["dice"][0] - means["dice"][1], [2.5, 97.5]).tolist()
    )


def test_differences_are_over_the_cases_defined_in_both(methods):
    pair = next(pair for pair in compare(methods, samples=10).overall.pairs if pair.second == "missing")
    first, second = column(methods[pair.first], "masd"), column(methods["missing"], "masd")
    both = ~np.isnan(first) & ~np.isnan(second)
    found = pair.metrics["masd"]
    assert found.n == both.sum() == 18
    assert found.mean == pytest.approx((first - second)[both].mean())
    assert found.p == pytest.approx(stats.wilcoxon((first - second)[both], method="exact").pvalue)
    assert pair.metrics["dice"].n == 20


def test_the_diagonal_stands_for_undefined_distances_in_every_method(methods):
    found = compare(methods, undefined="diagonal", samples=10).overall
    masd = column(methods["missing"], "masd")
    masd[[4, 9]] = [104.0, 109.0]
    score = found.methods["missing"].metrics["masd"]
    assert (score.mean, score.n, score.undefined, score.rule) == (pytest.approx(masd.mean()), 20, 2, "diagonal")
    assert found.methods["missing"].metrics["dice"].rule == "skip"
    assert all(pair.metrics["masd"].n == 20 for pair in found.pairs)


def test_holm_is_over_every_pair_and_metric_of_a_group(methods):
    found = compare(methods, samples=10)
    for group in found.groups.values():
        p_values = sorted((d.p, d.p_holm) for pair in group.pairs for d in pair.metrics.values())
        assert group.tests == len(p_values) == 3 * 4
        assert p_values[0][1] == pytest.approx(min(1, 12 * p_values[0][0]))
        assert [corrected for _, corrected in p_values] == sorted(corrected for _, corrected in p_values)


def test_strata_are_compared_as_if_alone(methods, evaluate):
    found = compare(methods, samples=50)
    assert list(found.strata) == ["<1 %", "1-5 %", ">5 %"]
    assert list(found.groups)[-1] == "all"
    assert sum(group.cases for group in found.strata.values()) == 20
    rows = [row for row in methods["plain"].rows if row["stratum"] == "<1 %"]
    score = found.strata["<1 %"].methods["plain"].metrics["dice"]
    assert score.mean == pytest.approx(np.mean([row["dice"] for row in rows]))


def flipped(pair):
    """The pair seen from its other side."""
    turned = {
        name: replace(
            found,
            mean=-found.mean,
            low=None if found.low is None else -found.high,
            high=None if found.high is None else -found.low,
        )
        for name, found in pair.metrics.items()
    }
    return replace(pair, first=pair.second, second=pair.first, metrics=turned)


def approximately(found):
    return {
        name: [pytest.approx(value) if isinstance(value, float) else value for value in vars(difference).values()]
        for name, difference in found.metrics.items()
    }


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(["plain", "better", "missing"]), rows=st.randoms())
def test_the_order_of_methods_and_rows_does_not_matter(methods_once, order, rows):
    reference = compare(methods_once, samples=100).overall
    shuffled = {}
    for name in order:
        copy = list(methods_once[name].rows)
        rows.shuffle(copy)
        shuffled[name] = Results(copy, [], {})
    found = compare(shuffled, samples=100).overall
    assert found.methods == reference.methods
    pairs = {(pair.first, pair.second): pair for pair in found.pairs}
    for pair in reference.pairs:
        other = pairs.get((pair.first, pair.second)) or flipped(pairs[pair.second, pair.first])
        assert {k: list(vars(d).values()) for k, d in other.metrics.items()} == approximately(pair)


@pytest.fixture(scope="module")
def methods_once():
    """The methods of `methods`, made once for the properties."""
    random = np.random.default_rng(0)
    rows = {
        name: [
            {"case": f"c{k}", "stratum": "<1 %", **{metric: float(random.normal(1, 0.4)) for metric in METRICS}}
            for k in range(9)
        ]
        for name in ("plain", "better", "missing")
    }
    rows["missing"][2]["masd"] = NAN
    return {name: Results(of, [], {}) for name, of in rows.items()}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_identical_methods_differ_by_nothing(dice):
    rows = [{"case": str(k), "stratum": "<1 %", "dice": value} for k, value in enumerate(dice)]
    twins = {name: Results(rows, [], {}) for name in "ab"}
    found = compare(twins, samples=64).overall
    difference = found.pairs[0].metrics["dice"]
    assert (difference.mean, difference.p, difference.p_holm, difference.nonzero) == (0, 1, 1, 0)
    assert difference.low == difference.high == (0 if len(dice) > 1 else None)
    for method in found.methods.values():
        assert (method.metrics["dice"].rank, method.metrics["dice"].first) == (1.5, 0.5)
        assert method.mean_ranks["RA"].first == 0.5


def test_the_same_seed_gives_the_same_comparison(methods):
    assert compare(methods, samples=50, seed=1) == compare(methods, samples=50, seed=1)
    one, other = (compare(methods, samples=50, seed=seed).overall.methods["plain"].metrics["dice"] for seed in (1, 2))
    assert one.mean == other.mean and one.low != other.low


def test_one_method_has_scores_but_no_pairs(methods):
    found = compare({"plain": methods["plain"]}, samples=20).overall
    assert (found.pairs, found.tests) == ((), 0)
    assert found.methods["plain"].metrics["dice"].first == 1


def test_what_nobody_defines_is_none(evaluate):
    twins = {name: evaluate({"dice": [0.5, 0.7], "masd": [NAN, NAN]}, strata=["<1 %"] * 2) for name in "ab"}
    found = compare(twins, samples=20).overall
    score = found.methods["a"].metrics["masd"]
    assert (score.mean, score.low, score.n, score.undefined, score.rank, score.first) == (None, None, 0, 2, None, None)
    difference = found.pairs[0].metrics["masd"]
    assert (difference.mean, difference.p, difference.p_holm, difference.n) == (None, None, None, 0)
    assert found.tests == 1
    assert found.methods["a"].mean_ranks["challenge"].rank is None
    assert found.methods["a"].mean_ranks["RA"].rank == 1.5


def test_a_method_without_a_mean_is_ranked_last(evaluate):
    values = {"a": [NAN, NAN], "b": [50.0, 60.0]}
    found = compare({name: evaluate({"masd": numbers}) for name, numbers in values.items()}, samples=20).overall
    assert [method.metrics["masd"].rank for method in found.methods.values()] == [2, 1]
