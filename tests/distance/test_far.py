import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.distance.far import nearest_goal


def first_nearest(starts, goals, spacing):
    """Each start against each goal: the definition."""
    squares = (((goals[None] - starts[:, None]) * np.array(spacing)) ** 2).sum(-1)
    return squares.argmin(1)  # the first of those equally near


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 3), st.integers(0, 300), st.integers(1, 300), st.sampled_from([3, 40, 10**5]), st.integers(0, 2**32)
)
def test_whole_steps_are_exact_and_ties_go_to_the_first(ndim, starts, goals, side, seed):
    rng = np.random.default_rng(seed)
    starts, goals = (rng.integers(0, side, (count, ndim)) for count in (starts, goals))
    found = nearest_goal(starts, goals, spacing=(1.0,) * ndim)
    assert found.tolist() == first_nearest(starts, goals, (1.0,) * ndim).tolist()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.3, 4.7, 1.1), (1e-3, 1.0, 1e3)])
@pytest.mark.parametrize("shape", ["ball", "plane", "line", "clusters", "volume", "same place"])
def test_any_shape(shape, spacing):
    rng = np.random.default_rng(0)
    places = np.argwhere(np.ones((24, 24, 24), bool))
    goals = {
        "ball": places[np.abs(np.linalg.norm(places - 12, axis=1) - 9) < 0.7],
        "plane": places[places[:, 1] == 5],
        "line": places[(places[:, 0] == 3) & (places[:, 2] == 20)],
        "clusters": rng.integers(0, 3, (400, 3)) + 1000 * rng.integers(-2, 3, (400, 1)),
        "volume": places[rng.random(len(places)) < 0.2],
        "same place": np.full((50, 3), 7),
    }[shape]
    starts = rng.integers(-30, 60, (500, 3))
    found = nearest_goal(starts, goals, spacing=spacing)
    lengths = [
        (((goals[rows] - starts) * spacing) ** 2).sum(1) for rows in (found, first_nearest(starts, goals, spacing))
    ]
    np.testing.assert_array_equal(*lengths)


def test_any_order_of_memory_and_integer_type():
    goals, starts = np.array([[9, 9], [1, 2], [4, 4]]), np.array([[0, 0], [5, 5], [8, 7]])
    for change in (np.asfortranarray, lambda a: a.astype(np.int16), lambda a: np.repeat(a, 2, axis=0)[::2]):
        assert nearest_goal(change(starts), change(goals), spacing=(1.0, 2.0)).tolist() == [1, 2, 0]
