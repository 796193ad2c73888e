import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.distance import border_field


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_both_sides(seed):
    rng = np.random.default_rng(seed)
    shape = [(7, 6), (5, 9, 6), (1, 8, 5), (9, 1)][seed % 4]
    mask = rng.random(shape) < rng.choice([0.0, 0.05, 0.5, 0.95, 1.0])
    spacing = None if seed % 3 else tuple(rng.uniform(0.3, 3, mask.ndim))
    for power in (1.0, 2.0, 1.5):
        found = border_field(mask, spacing=spacing, power=power)
        if mask.all() or not mask.any():
            assert found is None
            continue
        sides = (ndimage.distance_transform_edt(side, sampling=spacing) ** power for side in (mask, ~mask))
        assert found == pytest.approx(sum(sides), rel=1e-5) and found.dtype == np.float32


def test_a_mask_of_many_voxels():
    mask = np.zeros((40, 40, 30), bool)
    mask[3:37, 2:39, 4:28] = True
    sides = sum(ndimage.distance_transform_edt(side) ** 2 for side in (mask, ~mask))
    assert border_field(mask) == pytest.approx(sides, rel=1e-6)
