import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from multifocal.distance import border_fields

SHAPES = [(7, 6), (5, 9, 6), (1, 8, 5), (9, 1), (4, 1, 7), (3, 33)]


def reference(mask, spacing, power):
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    sides = (ndimage.distance_transform_edt(side, sampling=spacing) ** power for side in (mask, ~mask))
    return sum(sides)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_both_sides_of_every_image(seed):
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    masks = rng.random((4, *shape)) < rng.choice([0.0, 0.05, 0.5, 0.95, 1.0], (4, *[1] * len(shape)))
    spacing = None if seed % 3 else tuple(rng.uniform(0.3, 3, len(shape)))
    for power in (1.0, 2.0, 1.5):
        found = border_fields(torch.from_numpy(masks), spacing=spacing, power=power)
        assert found.dtype == torch.float32
        for image, mask in zip(found.numpy(), masks, strict=True):
            assert image == pytest.approx(reference(mask, spacing, power), rel=1e-6)


def test_squares_of_whole_steps_are_exact():
    mask = np.zeros((60, 50, 40), bool)
    mask[3:37, 2:39, 4:28] = True
    mask[50, 45, 3] = True
    found = border_fields(torch.from_numpy(mask)[None])[0].numpy()
    assert np.array_equal(found, np.round(reference(mask, None, 2.0)))


def test_masks_that_lie_anyhow_in_memory():
    masks = torch.rand(3, 8, 9, 2).lt(0.2)
    swapped = masks.permute(0, 3, 2, 1)
    assert torch.equal(border_fields(swapped), border_fields(masks).permute(0, 3, 2, 1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(threads):
    masks = torch.rand(2, 300, 200).lt(0.001)
    before = torch.get_num_threads()
    expected = border_fields(masks)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(border_fields(masks), expected)
    finally:
        torch.set_num_threads(before)
