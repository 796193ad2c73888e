import numpy as np
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.instances import given, label, pairs


@settings(max_examples=40, deadline=None)
@having(st.integers(0, 10_000))
def test_pairs_of_two_stacks(seed):
    rng = np.random.default_rng(seed)
    shape = [(2, 7, 6), (3, 5, 4, 6)][seed % 2]
    sides = [np.stack([ndimage.label(rng.random(shape[1:]) < 0.4)[0] for _ in range(shape[0])]) for _ in range(2)]
    instances = [given(side * scale) for side, scale in zip(sides, (3, 1), strict=True)]
    left, right = (side.dense() for side in instances)
    found = pairs(*instances)
    seen = set(zip(left.ravel().tolist(), right.ravel().tolist(), strict=True)) - {(0, 0)}
    assert sorted(seen) == sorted(zip(found.prediction.tolist(), found.target.tolist(), strict=True))
    assert np.array_equal(found.voxels, np.flatnonzero((left > 0) | (right > 0)))
    assert np.array_equal(found.prediction[found.pair], left.ravel()[found.voxels])
    assert np.array_equal(found.target[found.pair], right.ravel()[found.voxels])
    for row, (m, n) in enumerate(zip(found.prediction, found.target, strict=True)):
        assert found.counts[row] == ((left == m) & (right == n)).sum()


def test_many_components_on_both_sides():
    """More possible pairs than a table holds."""
    stripes = np.zeros((1, 400, 400), bool)
    stripes[:, ::2, ::2] = True
    found = pairs(label(stripes, connectivity="face"), label(stripes.copy(), connectivity="face"))
    assert (found.prediction == found.target).all() and len(found.target) == 200 * 200
