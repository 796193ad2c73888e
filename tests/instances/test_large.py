"""More voxels than float32 can count: 2^24 and some."""

import numpy as np
import pytest
import torch

from multifocal.instances import components, label, pairs

SHAPE = (260, 256, 256)


def corners(shape):
    return [tuple((side - 1) * ((corner >> axis) & 1) for axis, side in enumerate(shape)) for corner in range(8)]


def test_corners_a_spiral_and_a_large_component():
    assert np.prod(SHAPE) > 2**24
    mask = np.zeros(SHAPE, bool)
    for place in corners(SHAPE):
        mask[place] = True
    # A winding thread, one voxel thick, through the last planes: hundreds of thousands of indices above 2^24.
    mask[257, 2:-2:4, 2:-2] = True
    mask[257, 2:-2, 2] |= np.arange(252) // 4 % 2 == 0
    mask[257, 2:-2, -3] |= np.arange(252) // 4 % 2 == 1
    labels, count = components(mask)
    assert count == 9 and len({labels[place] for place in corners(SHAPE)}) == 8
    found = label(torch.from_numpy(mask)[None])
    assert np.array_equal(found.dense()[0], labels)
    assert found.sizes.sum() == np.count_nonzero(mask) and found.voxels[-1] == mask.size - 1


@pytest.mark.slow
def test_counts_beyond_2_to_the_24():
    prediction, target = np.ones((2, 1, *SHAPE), bool)
    prediction[0, 0, 0, 0] = target[0, -1, -1, -1] = False
    found = pairs(label(prediction), label(target))
    table = {(int(m), int(n)): int(c) for m, n, c in zip(found.prediction, found.target, found.counts, strict=True)}
    assert table == {(1, 0): 1, (0, 1): 1, (1, 1): prediction.size - 2}


def test_pairs_of_single_voxels_at_the_end():
    mask = np.zeros((1, *SHAPE), bool)
    mask[0, -1, -1, -3:] = True
    mask[0, 0, 0, 0] = True
    other = mask.copy()
    other[0, -1, -1, -2] = False
    found = pairs(label(other), label(mask))
    assert found.voxels.tolist() == [0, mask.size - 3, mask.size - 2, mask.size - 1]
    assert found.counts.sum() == 4 and sorted(zip(found.prediction.tolist(), found.target.tolist(), strict=True)) == [
        (0, 2),
        (1, 1),
        (2, 2),
        (3, 2),
    ]
