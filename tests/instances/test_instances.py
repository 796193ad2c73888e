import numpy as np
import pytest
import torch
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.instances import given, label


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    masks = torch.rand(3, 40, 41, 30) < 0.02
    found, expected = label(masks.cuda()), label(masks)
    assert np.array_equal(found.voxels, expected.voxels) and found.counts.tolist() == expected.counts.tolist()
