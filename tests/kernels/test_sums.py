import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multifocal.kernels.sums import add_by, sizes_by, union

places = st.lists(st.integers(0, 30), unique=True, max_size=20).map(sorted)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_sums_by_group(dtype):
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.integers(0, 5, 300), 3).astype(dtype)
    values = rng.normal(size=900).astype(np.float32)
    sums, sizes = np.ones(6), np.zeros(6, np.int64)
    add_by(groups, values, sums)
    sizes_by(groups, sizes)
    assert sums == pytest.approx(1 + np.bincount(groups, weights=values, minlength=6))
    assert (sizes == np.bincount(groups, minlength=6)).all()
    add_by(groups[:0], values[:0], sums)
    assert sums == pytest.approx(1 + np.bincount(groups, weights=values, minlength=6))


@settings(max_examples=60, deadline=None)
@given(places, places)
def test_union(ours, theirs):
    left, right = (np.array(side, np.int64) for side in (ours, theirs))
    found = union(left, (left + 1).astype(np.int32), right, (right + 100).astype(np.int32))
    expected = sorted(set(ours) | set(theirs))
    assert found[0].tolist() == expected
    assert found[1].tolist() == [place + 1 if place in ours else 0 for place in expected]
    assert found[2].tolist() == [place + 100 if place in theirs else 0 for place in expected]
