"""How foci are made."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.cohorts.phantom.brain import STEP, generator
from multifocal.cohorts.phantom.lesions import PATTERNS, foci, level_of, susceptibility


@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_foci_have_their_volume_and_stay_where_they_are_likely(head, pattern):
    likely = susceptibility(head, pattern=pattern)
    assert not likely[head.inside <= 0].any()
    height = foci(generator(3, 1), head, likely=likely, count=6, millilitres=3.0)
    wanted = round(3.0 * 1000 / STEP**3)
    found = height >= level_of(height, voxels=wanted)
    assert found.sum() == pytest.approx(wanted, abs=2)
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8)), True)
    assert 2 <= sitk.GetArrayViewFromImage(labels).max() <= 40
    assert likely[found].mean() > 1.3 * likely[head.inside > 0].mean()


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=40), voxels=st.integers(-3, 60))
@settings(max_examples=60, deadline=None)
def test_the_level_is_the_nth_highest_value(values, voxels):
    rank = min(max(voxels, 1), len(values))
    assert level_of(np.array(values), voxels=voxels) == sorted(values, reverse=True)[rank - 1]
