"""Labelling on an accelerator, with NumPy and SciPy standing in for CuPy: numbers must be as they are on the CPU."""

import sys
import types

import numpy as np
import pytest
import torch
from scipy import ndimage

from multifocal.instances import batches, label


@pytest.fixture
def cupy(monkeypatch):
    """Put modules of CuPy's names in place whose arrays are NumPy's."""
    names = ("zeros", "ravel", "flatnonzero")
    stand_in = types.SimpleNamespace(
        **{name: getattr(np, name) for name in names},
        from_dlpack=lambda tensor: tensor.numpy(),
        asnumpy=np.asarray,
    )
    monkeypatch.setitem(sys.modules, "cupy", stand_in)
    monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupyx.scipy", types.SimpleNamespace(ndimage=ndimage))


@pytest.mark.parametrize("connectivity", ["full", "face"])
@pytest.mark.parametrize("shape", [(5, 12, 9), (3, 6, 7, 5)])
def test_one_labelling_of_the_stack(connectivity, shape, cupy):
    masks = np.random.default_rng(0).random(shape) < 0.2
    masks[1] = False
    found = batches._on_cuda(torch.from_numpy(masks), connectivity)
    expected = label(masks, connectivity=connectivity)
    assert found.counts.tolist() == expected.counts.tolist() and found.shape == expected.shape
    assert np.array_equal(found.voxels, expected.voxels) and found.labels.dtype == np.int32
    pairs = np.unique(np.stack([found.labels, expected.labels]), axis=1)
    assert pairs.shape[1] == expected.total  # the same parts
    assert (np.diff(found.labels[np.unique(found.image[found.labels - 1], return_index=True)[1]]) > 0).all()
    assert np.array_equal(found.image[found.labels - 1], found.voxels // masks[0].size)


def test_without_cupy_the_masks_make_the_trip(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert batches._on_cuda(torch.zeros(1, 4, 4, dtype=torch.bool), "full") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    masks = torch.rand(3, 40, 41, 30) < 0.02
    found, expected = label(masks.cuda()), label(masks)
    assert np.array_equal(found.voxels, expected.voxels) and found.counts.tolist() == expected.counts.tolist()
