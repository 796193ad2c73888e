"""From probability to mask, against masks made another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy import ndimage

from multifocal.systems import Postprocess, postprocess
from multifocal.systems.postprocess import dice_threshold
from multifocal.volumes import Geometry, Volume

GRID = Geometry((6, 5, 4), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
MAPS = arrays(np.float32, (6, 5, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))


def mask(values, **settings):
    return postprocess(Volume(values, GRID), Postprocess(**settings))[0].array


@given(MAPS)
def test_the_threshold_itself_is_lesion(values):
    assert np.array_equal(mask(values, threshold=0.5), values >= 0.5)


@given(MAPS)
def test_hysteresis_grows_lesions_down_to_the_lower_threshold(values):
    expected = ndimage.binary_propagation(values >= 0.75, structure=np.ones((3, 3, 3)), mask=values >= 0.25)
    assert np.array_equal(mask(values, threshold=0.75, hysteresis=0.25), expected)


@given(arrays(np.float32, (3, 4, 2), elements=st.floats(0, 1, width=32)))
def test_the_threshold_of_the_greatest_expected_dice(values):
    def expected(threshold):
        chosen = values >= threshold
        return 2 * values[chosen].sum(dtype=float) / (chosen.sum() + values.sum(dtype=float))

    found = dice_threshold(values)
    if not values.any():
        assert found == 1 and not (values >= found).any()
        return
    assert found in values
    best = max(expected(each) for each in np.unique(values[values > 0]))
    assert expected(found) == pytest.approx(best)
    # What is more likely than half of it adds to it, what is less takes away (Lipton, Elkan, Naryanaswamy 2014).
    assert found >= best / 2 - 1e-9 and all(each <= best / 2 + 1e-9 for each in values[values < found])


def test_the_expected_dice_goes_by_what_counts():
    values = np.zeros(GRID.size, np.float32)
    values[0, 0, 0], values[3, :3, :3] = 0.3, 0.9
    brain = np.ones(GRID.size, bool)
    brain[3] = False
    assert mask(values, threshold="dice")[3].any() and not mask(values, threshold="dice")[0].any()
    found, _ = postprocess(Volume(values, GRID), Postprocess(threshold="dice", within_brain=True), brain=brain)
    assert np.argwhere(found.array).tolist() == [[0, 0, 0]]
    assert not mask(values, threshold="dice", min_size_voxels=10).any() and not mask(0 * values, threshold="dice").any()


@given(MAPS, st.sampled_from([0.002, 0.004, 0.006]))
def test_components_below_the_least_volume_are_dropped(values, least):
    labels, count = ndimage.label(values >= 0.5, np.ones((3, 3, 3)))
    kept = [n for n in range(1, count + 1) if round((labels == n).sum() * 0.002, 6) >= least]
    assert np.array_equal(mask(values, min_size_ml=least), np.isin(labels, kept))


@given(MAPS, st.integers(0, 5))
def test_components_of_fewer_voxels_are_dropped(values, least):
    labels, count = ndimage.label(values >= 0.5, np.ones((3, 3, 3)))
    kept = [n for n in range(1, count + 1) if (labels == n).sum() >= least]
    assert np.array_equal(mask(values, min_size_voxels=least), np.isin(labels, kept))


@pytest.mark.parametrize("axial", [0, 1, 2])
@given(values=MAPS, least=st.sampled_from([{"min_size_voxels": 3}, {"min_size_ml": 0.006}]))
def test_least_sizes_slice_by_slice(axial, values, least):
    order = {0: [2, 1, 0], 1: [0, 2, 1], 2: [0, 1, 2]}[axial]
    grid = Geometry(GRID.size, GRID.spacing, GRID.origin, tuple(np.eye(3)[order].ravel()))
    settings = Postprocess(**least, min_size_dimensions=2)
    found = postprocess(Volume(values, grid), settings)[0].array
    expected = np.zeros(values.shape, bool)
    for number in range(values.shape[axial]):
        place = tuple(number if axis == axial else slice(None) for axis in range(3))
        labels, count = ndimage.label(values[place] >= 0.5, np.ones((3, 3)))
        expected[place] = np.isin(labels, [n for n in range(1, count + 1) if (labels == n).sum() >= 3])
    assert grid.axial == axial and np.array_equal(found, expected)


def test_a_flat_image_is_one_slice():
    flat = np.array([[1.0, 1.0, 0.0, 1.0]])
    grid = Geometry((1, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    for dimensions in (2, 3):
        settings = Postprocess(min_size_voxels=2, min_size_dimensions=dimensions)
        assert postprocess(Volume(flat, grid), settings)[0].array.tolist() == [[1, 1, 0, 0]]


@given(MAPS)
def test_the_largest_alone(values):
    labels, count = ndimage.label(values >= 0.5, np.ones((3, 3, 3)))
    sizes = [(labels == n).sum() for n in range(1, count + 1)]
    found = mask(values, largest_only=True)
    assert found.sum() == max(sizes, default=0)
    assert not count or sum((found[labels == n] > 0).all() for n in range(1, count + 1)) == 1


def test_the_largest_comes_after_the_least_size():
    slab = np.zeros(GRID.size)
    slab[0, 0, :] = slab[0, 1, 2:] = slab[0, 2, 0:2] = 1  # eight voxels through the slices, of two at most in each
    slab[3:5, 2:5, 0] = 1  # six in one slice
    assert mask(slab, largest_only=True)[0].sum() == 8
    kept = mask(slab, largest_only=True, min_size_voxels=3, min_size_dimensions=2)
    assert kept[0].sum() == 0 and kept[3:5, 2:5, 0].all() and kept.sum() == 6


@given(MAPS, st.sampled_from([0.3, 1.0, 2.5]))
def test_a_temperature_divides_the_log_odds(values, temperature):
    found, probability = postprocess(Volume(values, GRID), Postprocess(temperature=temperature, threshold=0.7))
    inside = (values > 0) & (values < 1)
    odds = (values[inside] / (1 - values[inside])) ** (1 / temperature)
    np.testing.assert_allclose(probability.array[inside], odds / (1 + odds), rtol=1e-6)
    assert np.array_equal(probability.array[~inside], values[~inside]) and probability.array.dtype == values.dtype
    assert np.array_equal(found.array, probability.array >= 0.7)


def test_temperature_and_brain_are_counted_once():
    values, brain = np.full(GRID.size, 0.7, np.float32), np.ones(GRID.size, bool)
    settings = Postprocess(temperature=2.0, within_brain=True, threshold=0.6)
    found, probability = postprocess(Volume(values, GRID), settings, brain=brain)
    assert found.array.all() and probability.array.max() == pytest.approx(0.6044, abs=1e-4)


def test_the_brain_bounds_the_probability():
    brain = np.zeros(GRID.size, bool)
    brain[:2] = True
    found, probability = postprocess(Volume(np.ones(GRID.size), GRID), Postprocess(within_brain=True), brain=brain)
    assert np.array_equal(found.array, brain) and np.array_equal(probability.array, brain)
    with pytest.raises(ValueError, match="within_brain needs brain"):
        postprocess(Volume(np.ones(GRID.size), GRID), Postprocess(within_brain=True))


def test_nothing_and_everything():
    assert not mask(np.zeros(GRID.size), hysteresis=0.1, min_size_ml=0.1).any()
    assert mask(np.ones(GRID.size), hysteresis=0.1, min_size_ml=0.24).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hysteresis": 0.6}, "above threshold"),
        ({"threshold": "dice", "hysteresis": 0.3}, "another one for each volume"),
        ({"threshold": "nsd"}, "dice"),
        ({"threshold": 0.0}, "greater than 0"),
        ({"min_size_ml": -1.0}, "0"),
        ({"min_size_voxels": -1}, "0"),
        ({"min_size_dimensions": 1}, "2 or 3"),
        ({"temperature": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValidationError, match=message):
        Postprocess(**settings)
