"""Distances against brute force over all pairs of voxels, whichever way they are found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from multifocal.distance import distance_to, nearby, nearest


def brute_force(mask, spacing):
    every = np.argwhere(np.ones(mask.shape, bool)) * spacing
    goals = np.argwhere(mask) * spacing
    steps = every[:, None] - goals[None]
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
    nearby._steps.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_ELEMENTS_PER_POINT", elements_per_point)
        patch.setattr(nearby, "_MOST", most)
        found = distance_to(mask, spacing=spacing, at=at)
    nearby._steps.cache_clear()
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
