import numpy as np
import pytest
import torch
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.instances import contingency, given, label, pairs


def stacks(seed, shape=None):
    rng = np.random.default_rng(seed)
    shape = shape or [(3, 7, 6), (2, 5, 4, 6), (1, 9, 1), (4, 3, 3)][seed % 4]
    return rng.random(shape) < rng.choice([0.0, 0.1, 0.4, 1.0], p=[0.1, 0.5, 0.3, 0.1])


@settings(max_examples=40, deadline=None)
@having(st.integers(0, 10_000))
def test_components_of_a_stack(seed):
    masks = stacks(seed)
    found = label(masks)
    dense, total = found.dense(), 0
    for image, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
        expected = np.where(labels > 0, labels + total, 0)
        # The same parts, in whatever order.
        together = np.unique(np.stack([expected.ravel(), dense[image].ravel()]), axis=1)
        assert together.shape[1] == count + (mask.size > mask.sum())
        assert found.counts[image] == count
        total += count
    assert found.total == total and (found.image == np.repeat(np.arange(len(masks)), found.counts)).all()
    for n in range(1, total + 1):
        places = np.nonzero(dense == n)[1:]
        assert found.sizes[n - 1] == len(places[0])
        assert found.boxes[0][n - 1].tolist() == [p.min() for p in places]
        assert found.boxes[1][n - 1].tolist() == [p.max() + 1 for p in places]
        assert found.centres[n - 1] == pytest.approx([p.mean() for p in places])


def test_tensors_and_labels_made_beforehand():
    masks = stacks(4)
    found = label(torch.from_numpy(masks))
    again = given(torch.from_numpy(found.dense()) * 7)
    assert (again.labels == found.labels).all() and (again.voxels == found.voxels).all()
    sparse = given(found.dense().astype(np.int64) * 10**9)
    assert (sparse.labels == found.labels).all()
    with pytest.raises(ValueError, match="dtype float64"):
        given(masks.astype(float))
    with pytest.raises(ValueError, match="label -1"):
        given(-masks.astype(int))


@settings(max_examples=40, deadline=None)
@having(st.integers(0, 10_000))
def test_contingency(seed):
    rng = np.random.default_rng(seed)
    shape = [(7, 6), (5, 4, 6)][seed % 2]
    left, right = (ndimage.label(rng.random(shape) < 0.4)[0] * scale for scale in (3, 1))
    quantities = [rng.normal(size=shape), rng.random(shape)]
    found = contingency(left, right, quantities)
    wide = contingency(torch.from_numpy(left), torch.from_numpy(right), [torch.from_numpy(q) for q in quantities])
    assert (found.prediction == wide.prediction).all() and (found.target == wide.target).all()
    torch.testing.assert_close(wide.sums, torch.from_numpy(found.sums))
    seen = {(0, 0)} | set(zip(left.ravel().tolist(), right.ravel().tolist(), strict=True))
    assert seen == set(zip(found.prediction.tolist(), found.target.tolist(), strict=True))
    for row, (m, n) in enumerate(zip(found.prediction, found.target, strict=True)):
        inside = (left == m) & (right == n)
        assert found.counts[row] == inside.sum()
        assert found.sums[:, row] == pytest.approx([q[inside].sum() for q in quantities])


def test_contingency_has_derivatives():
    rng = np.random.default_rng(0)
    left, right = (torch.from_numpy(ndimage.label(rng.random((5, 4)) < 0.4)[0]) for _ in range(2))
    q = torch.from_numpy(rng.normal(size=(5, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: contingency(left, right, [x, x**2]).sums, q)


def test_a_small_sum_beside_a_large_one_keeps_its_digits():
    mask = np.zeros((64, 64, 64), np.int32)
    mask[:2, 0, 0] = 1
    values = torch.full(mask.shape, 1e4)
    values[:2, 0, 0] = 1e-3
    found = contingency(torch.from_numpy(mask), torch.from_numpy(mask), [values])
    assert found.sums[0].tolist() == pytest.approx([1e4 * (64**3 - 2), 2e-3], rel=1e-6)


def test_many_components_on_both_sides():
    """More possible pairs than a table holds."""
    stripes = np.zeros((1, 400, 400), bool)
    stripes[:, ::2, ::2] = True
    found = pairs(label(stripes, connectivity="face"), label(stripes.copy(), connectivity="face"))
    assert (found.prediction == found.target).all() and len(found.target) == 200 * 200


def test_contingency_of_shapes_that_differ():
    left, right = np.zeros((3, 4), int), np.zeros((4, 3), int)
    with pytest.raises(ValueError, match=r"target has shape \(4, 3\); expected that of prediction, \(3, 4\)"):
        contingency(left, right)
    with pytest.raises(ValueError, match=r"quantities\[1\] has shape \(2, 2\)"):
        contingency(left, left, [np.ones((3, 4)), np.ones((2, 2))])
