"""From probability to mask, against masks made another way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy import ndimage

from multifocal.systems import Postprocess, postprocess
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


@given(MAPS, st.sampled_from([0.002, 0.004, 0.006]))
def test_components_below_the_least_volume_are_dropped(values, least):
    labels, count = ndimage.label(values >= 0.5, np.ones((3, 3, 3)))
    kept = [n for n in range(1, count + 1) if round((labels == n).sum() * 0.002, 6) >= least]
    assert np.array_equal(mask(values, min_size_ml=least), np.isin(labels, kept))


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
    [({"hysteresis": 0.6}, "above threshold"), ({"threshold": 0.0}, "greater than 0"), ({"min_size_ml": -1.0}, "0")],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValidationError, match=message):
        Postprocess(**settings)
