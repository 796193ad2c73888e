"""Distances against brute force over all pairs of voxels, whichever way they are found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multifocal.distance import distance_to, nearest
from multifocal.distance.nearest import block_search


def brute_force(mask, spacing):
    every = np.argwhere(np.ones(mask.shape, bool)) * spacing
    targets = np.argwhere(mask) * spacing
    steps = every[:, None] - targets[None]
    return np.sqrt((steps**2).sum(axis=-1)).min(axis=1).reshape(mask.shape)


@st.composite
def scenes(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7))
    mask = draw(hnp.arrays(bool, shape))
    mask[draw(st.tuples(*(st.integers(0, n - 1) for n in shape)))] = True
    at = draw(hnp.arrays(bool, shape))
    spacing = draw(st.tuples(*[st.floats(0.1, 9.0)] * len(shape)))
    return mask, at, spacing


@pytest.mark.parametrize("most", [1, 5, 128], ids=["one place", "near", "far"])
@pytest.mark.parametrize("elements_per_point", [0, 10**9], ids=["points", "transform"])
@settings(max_examples=60, deadline=None)
@given(scene=scenes())
def test_equals_brute_force(elements_per_point, most, scene):
    mask, at, spacing = scene
    nearest._steps.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_ELEMENTS_PER_POINT", elements_per_point)
        patch.setattr(nearest, "_MOST", most)
        found = distance_to(mask, spacing=spacing, at=at)
    nearest._steps.cache_clear()
    expected = brute_force(mask, spacing)
    np.testing.assert_allclose(found, expected[at], rtol=1e-12)
    np.testing.assert_allclose(distance_to(mask, spacing=spacing), expected, rtol=1e-12)


@pytest.mark.parametrize("elements_per_point", [0, 10**9], ids=["points", "transform"])
@pytest.mark.parametrize("side", [0.1, 0.7, 1.1, 2.0000001])
def test_whole_steps_are_exact(elements_per_point, side, monkeypatch):
    """n voxels along an axis are n times the spacing to the last bit, wherever they lie."""
    monkeypatch.setattr(nearest, "_ELEMENTS_PER_POINT", elements_per_point)
    mask = np.zeros((40, 3), bool)
    mask[17] = True
    at = np.ones_like(mask)
    steps = np.abs(np.arange(40) - 17)[:, None] * np.ones((1, 3))
    assert np.array_equal(distance_to(mask, spacing=(side, 5.0), at=at), (steps * side)[at])


def test_nothing_is_infinitely_far():
    mask, at = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
    assert np.isposinf(distance_to(mask, spacing=(1.0, 1.0))).all()
    assert distance_to(mask, spacing=(1.0, 1.0), at=at).tolist() == [np.inf] * 3


def test_nowhere_to_measure():
    mask = np.ones((3, 4), bool)
    assert distance_to(mask, spacing=(1.0, 1.0), at=~mask).shape == (0,)


def test_values_come_in_the_order_of_the_places():
    mask = np.asfortranarray(np.array([[True, False, False], [False, False, False]]))
    at = np.asfortranarray(np.array([[False, True, True], [True, False, False]]))
    assert distance_to(mask, spacing=(3.0, 1.0), at=at).tolist() == [1.0, 2.0, 3.0]


def first_nearest(queries, targets, spacing):
    """Each start against each goal: the definition."""
    squares = (((targets[None] - queries[:, None]) * np.array(spacing)) ** 2).sum(-1)
    return squares.argmin(1)  # the first of those equally near


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 3), st.integers(0, 300), st.integers(1, 300), st.sampled_from([3, 40, 10**5]), st.integers(0, 2**32)
)
def test_whole_steps_are_exact_and_ties_go_to_the_first(ndim, queries, targets, side, seed):
    rng = np.random.default_rng(seed)
    queries, targets = (rng.integers(0, side, (count, ndim)) for count in (queries, targets))
    found = block_search(queries, targets, spacing=(1.0,) * ndim)
    assert found.tolist() == first_nearest(queries, targets, (1.0,) * ndim).tolist()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.3, 4.7, 1.1), (1e-3, 1.0, 1e3)])
@pytest.mark.parametrize("shape", ["ball", "plane", "line", "clusters", "volume", "same place"])
def test_any_shape(shape, spacing):
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((24, 24, 24), bool))
    targets = {
        "ball": places[np.abs(np.linalg.norm(places - 12, axis=1) - 9) < 0.7],
        "plane": places[places[:, 1] == 5],
        "line": places[(places[:, 0] == 3) & (places[:, 2] == 20)],
        "clusters": rng.integers(0, 3, (400, 3)) + 1000 * rng.integers(-2, 3, (400, 1)),
        "volume": places[rng.random(len(places)) < 0.2],
        "same place": np.full((50, 3), 7),
    }[shape]
    queries = rng.integers(-30, 60, (500, 3))
    found = block_search(queries, targets, spacing=spacing)
    lengths = [
        (((targets[rows] - queries) * spacing) ** 2).sum(1)
        for rows in (found, first_nearest(queries, targets, spacing))
    ]
    np.testing.assert_array_equal(*lengths)


def test_any_order_of_memory_and_integer_type():
    targets, queries = np.array([[9, 9], [1, 2], [4, 4]]), np.array([[0, 0], [5, 5], [8, 7]])
    for change in (np.asfortranarray, lambda a: a.astype(np.int16), lambda a: np.repeat(a, 2, axis=0)[::2]):
        assert block_search(change(queries), change(targets), spacing=(1.0, 2.0)).tolist() == [1, 2, 0]
