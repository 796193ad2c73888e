"""Trees as arrays: scikit-learn's answers to the last digit, whatever the forest; and files that hold none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier

from multifocal.errors import UserError
from multifocal.systems.forest import BoostedTrees, ExtraTrees, Forest, RandomTrees
from multifocal.weights import read_weights, write_weights


def sample(seed, rows=200, features=5, levels=None):
    """Rows with ties where there are `levels`, and answers that follow from them in part."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, features)) if levels is None else rng.integers(0, levels, (rows, features))
    answers = values[:, 0] + rng.normal(size=rows) > 0.5
    return values.astype(np.float32), answers


@given(
    st.booleans(),
    st.integers(0, 2**16),
    st.integers(1, 12),
    st.sampled_from([None, 1, 4]),
    st.sampled_from([1, 7]),
    st.sampled_from([None, 0.6, 1.0]),
    st.sampled_from([None, 3]),
    st.integers(1, 700),
)
@settings(max_examples=15)
def test_predictions_are_those_of_scikit_learn(extra, seed, trees, depth, leaf, features, levels, asked):
    rows, answers = sample(seed, levels=levels)
    says = {"max_depth": depth, "min_samples_leaf": leaf, "max_features": features, "trees": trees, "seed": seed}
    kind = ExtraTreesClassifier if extra else RandomForestClassifier
    theirs = kind(
        trees, max_depth=depth, min_samples_leaf=leaf, max_features=features or "sqrt", random_state=seed
    ).fit(rows, answers)
    new, _ = sample(seed + 1, rows=asked, levels=levels)
    ours = Forest.fit(rows, answers, ExtraTrees(method="extra", **says) if extra else RandomTrees(**says))
    expected = theirs.predict_proba(new)[:, list(theirs.classes_).index(True)] if answers.any() else np.zeros(asked)
    assert np.array_equal(ours.predict(new), expected)
    assert np.array_equal(ours.predict(new, threads=3), expected)
    assert np.array_equal(ours.importance, theirs.feature_importances_)


@given(
    st.integers(0, 2**16),
    st.integers(1, 12),
    st.integers(2, 20),
    st.sampled_from([1, 30]),
    st.sampled_from([None, 0.6]),
    st.sampled_from([None, 3]),
    st.integers(1, 700),
)
@settings(max_examples=15)
def test_predictions_of_boosted_trees_are_those_of_scikit_learn(seed, trees, leaves, leaf, features, levels, asked):
    rows, answers = sample(seed, levels=levels)
    says = {"trees": trees, "max_leaves": leaves, "min_samples_leaf": leaf, "max_features": features, "seed": seed}
    ours = Forest.fit(rows, answers, BoostedTrees(method="boosted", learning_rate=0.3, l2=0.5, **says))
    theirs = HistGradientBoostingClassifier(
        max_iter=trees,
        learning_rate=0.3,
        max_leaf_nodes=leaves,
        min_samples_leaf=leaf,
        max_features=features or 1.0,
        l2_regularization=0.5,
        early_stopping=False,
        random_state=seed,
    ).fit(rows, answers)
    new, _ = sample(seed + 1, rows=asked, levels=levels)
    assert np.array_equal(ours.predict(new), theirs.predict_proba(new)[:, 1])
    assert np.array_equal(ours.predict(new, threads=3), ours.predict(new))
    assert ours.importance.sum() == pytest.approx(1) or not ours.importance.any()


def test_repeated_boosted_trees_answer_by_the_mean_of_their_log_odds():
    rows, answers = sample(4)
    says = {"method": "boosted", "trees": 6, "min_samples_leaf": 5, "max_features": 0.5}
    ours = Forest.fit(rows, answers, BoostedTrees(repeats=3, seed=2**32 - 2, **says))
    theirs = [
        HistGradientBoostingClassifier(
            max_iter=6,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            max_features=0.5,
            l2_regularization=1.0,
            random_state=seed,
        ).fit(rows, answers)
        for seed in (2**32 - 2, 2**32 - 1, 0)
    ]
    expected = expit(np.mean([one.decision_function(rows) for one in theirs], axis=0))
    assert np.allclose(ours.predict(rows), expected, rtol=1e-12)
    assert not np.array_equal(ours.predict(rows), Forest.fit(rows, answers, BoostedTrees(**says)).predict(rows))


@pytest.mark.parametrize(
    "method",
    [
        RandomTrees(trees=3),
        ExtraTrees(method="extra", trees=3),
        BoostedTrees(method="boosted", trees=3),
        BoostedTrees(method="boosted", trees=3, repeats=2),
    ],
)
@pytest.mark.parametrize("answer", [False, True])
def test_where_all_answers_are_one_it_is_the_answer(answer, method):
    rows, _ = sample(0)
    forest = Forest.fit(rows, np.full(len(rows), answer), method)
    assert set(forest.predict(rows)) == {float(answer)} and not forest.importance.any()


def test_threads_change_nothing():
    rows, answers = sample(3)
    one, two = (Forest.fit(rows, answers, RandomTrees(trees=8), threads=threads) for threads in (1, 2))
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in vars(one))


@pytest.mark.parametrize("method", [RandomTrees(trees=5), BoostedTrees(method="boosted", min_samples_leaf=5)])
def test_a_forest_comes_back_as_it_was_and_to_the_same_bytes(tmp_path, method):
    rows, answers = sample(1)
    forest = Forest.fit(rows, answers, method)
    for name in ("a", "b"):
        Forest.fit(rows, answers, method).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = Forest.load(tmp_path / "a", features={5, 9})
    assert np.array_equal(back.predict(rows), forest.predict(rows))
    assert next(iter(back.importances("vwxyz"))) == "v"
    with pytest.raises(UserError, match="holds no forest of the features of recipe.yaml; copy the run again"):
        Forest.load(tmp_path / "a", features={4})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda values: values.fill_(0)),  # a way without an end
        ("right", lambda values: values + 10**6),
        ("right", lambda values: values.fill_(-1)),
        ("feature", lambda values: values + 5),
        ("feature", lambda values: values - 1),
        ("roots", lambda values: values - 1),
        ("roots", lambda values: values[:0]),
        ("threshold", lambda values: values * np.nan),
        ("value", lambda values: values + 1),
        ("value", lambda values: values[1:]),
        ("value", lambda values: values.float()),
        ("left", None),
    ],
)
def test_arrays_that_are_no_forest_are_refused(tmp_path, name, change):
    rows, answers = sample(2)
    Forest.fit(rows, answers, RandomTrees(trees=2)).save(tmp_path / "a")
    arrays = read_weights(tmp_path / "a")
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name].clone())
    write_weights(tmp_path / "a", arrays, checksum=True)
    with pytest.raises(UserError, match="holds no forest"):
        Forest.load(tmp_path / "a", features={5})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("start", lambda values: values * np.nan),
        ("start", lambda values: values.repeat(2)),
        ("start", lambda values: values[:0]),  # as of a random forest, whose values are shares
        ("value", lambda values: values * np.inf),
    ],
)
def test_arrays_that_are_no_boosted_trees_are_refused(tmp_path, name, change):
    rows, answers = sample(2)
    Forest.fit(rows, answers, BoostedTrees(method="boosted", trees=2, min_samples_leaf=5)).save(tmp_path / "a")
    arrays = read_weights(tmp_path / "a")
    write_weights(tmp_path / "a", {**arrays, name: change(arrays[name].clone())}, checksum=True)
    with pytest.raises(UserError, match="holds no forest"):
        Forest.load(tmp_path / "a", features={5})


def test_a_networks_weights_are_no_forest(tmp_path):
    write_weights(tmp_path / "a", {"weight": torch.zeros(2)})
    with pytest.raises(UserError, match="holds no forest"):
        Forest.load(tmp_path / "a", features={5})


def test_rows_that_it_cannot_be_asked_by():
    rows, answers = sample(4)
    forest = Forest.fit(rows, answers, RandomTrees(trees=2))
    with pytest.raises(ValueError, match=r"rows have shape \(200, 4\); expected \(n, 5\)"):
        forest.predict(rows[:, :4])
    rows[3, 2] = np.nan
    with pytest.raises(ValueError, match="rows hold NaN"):
        forest.predict(rows)
    assert forest.predict(rows[:0]).shape == (0,)
