"""Components against SciPy's labelling, on every memory layout, and on the shapes where labellers fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from multifocal.instances import components

LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "flipped": np.flip,
    "strided": lambda mask: np.repeat(mask, 2, axis=-1)[..., ::2],
}


def reference(mask, connectivity):
    return ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim if connectivity == "full" else 1))


def assert_same_partition(labels, count, mask, connectivity):
    expected, expected_count = reference(mask, connectivity)
    assert labels.dtype == np.int32 and labels.shape == mask.shape
    assert count == expected_count
    assert np.array_equal(np.unique(labels[mask != 0]), np.arange(1, count + 1))
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(expected))


@pytest.mark.parametrize("connectivity", ["full", "face"])
@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_scipy(ndim, connectivity, data):
    shape = data.draw(hnp.array_shapes(min_dims=ndim, max_dims=ndim, min_side=1, max_side=8))
    mask = data.draw(
        hnp.arrays(data.draw(st.sampled_from([bool, np.uint8, np.int64])), shape, elements=st.integers(0, 1))
    )
    mask = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](mask)
    before = mask.copy()
    labels, count = components(mask, connectivity=connectivity)
    assert_same_partition(labels, count, mask, connectivity)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize("connectivity", ["full", "face"])
@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (5, 1), (4, 5, 6), (1, 5, 7), (5, 7, 1), (1, 1, 1)])
def test_sparse_random_masks_equal_scipy(shape, connectivity):
    """Few voxels in small arrays: where cc3d's boolean mode goes wrong."""
    random = np.random.default_rng(0)
    for share in np.repeat([0.05, 0.15, 0.3, 0.6], 40):
        mask = random.random(shape) < share
        assert_same_partition(*components(mask, connectivity=connectivity), mask, connectivity)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_single_voxel_at_every_place(shape, layout):
    for place in np.ndindex(*shape):
        mask = np.zeros(shape, bool)
        mask[place] = True
        mask = LAYOUTS[layout](mask)
        labels, count = components(mask)
        assert count == 1
        assert np.array_equal(labels, mask)


def spiral(size):
    """One winding path of ones: every component labeller has to merge many provisional labels."""
    mask = np.zeros((size, size), bool)
    row, column, step, turn = 0, 0, 0, ((0, 1), (1, 0), (0, -1), (-1, 0))
    mask[0, 0] = True
    length = size - 1
    while length > 0:
        for _ in range(2 if step else 3):
            for _ in range(length):
                row, column = row + turn[step % 4][0], column + turn[step % 4][1]
                mask[row, column] = True
            step += 1
        length -= 2
    return mask


@pytest.mark.parametrize("connectivity", ["full", "face"])
def test_spiral_is_one_component(connectivity):
    mask = spiral(41)
    assert 0.4 < mask.mean() < 0.6
    assert components(mask, connectivity=connectivity)[1] == 1
    assert components(np.stack([mask] * 3, axis=1), connectivity=connectivity)[1] == 1
    assert components(~mask, connectivity="face")[1] == reference(~mask, "face")[1]


def test_corner_contact_joins_only_under_full_connectivity():
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert components(mask, connectivity="full")[1] == 1
    assert components(mask, connectivity="face")[1] == 2


@pytest.mark.parametrize("shape", [(0, 3), (4, 5), (3, 0, 2), (3, 4, 5)])
def test_empty_mask(shape):
    labels, count = components(np.zeros(shape, bool))
    assert count == 0
    assert labels.shape == shape and labels.dtype == np.int32 and not labels.any()


def test_full_mask():
    labels, count = components(np.ones((3, 4, 5), np.uint8))
    assert count == 1 and (labels == 1).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((3, 3), np.float32), "dtype float32"),
        (np.zeros((3, 3), complex), "dtype complex128"),
        (np.zeros(3, bool), "1 dimensions"),
        (np.zeros((2, 2, 2, 2), bool), "4 dimensions"),
        (np.full((3, 3), 2, np.uint8), "2 to 2"),
        (np.full((3, 3), -1), "-1 to -1"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        components(mask)


def test_unknown_connectivity_lists_the_choices():
    with pytest.raises(ValueError, match="did you mean 'full'.*full, face"):
        components(np.zeros((3, 3), bool), connectivity="ful")


def test_real_label(bonbid):
    import SimpleITK as sitk

    for name in sorted((bonbid / "3LABEL").iterdir())[::15]:
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(name))) > 0
        assert_same_partition(*components(mask), mask, "full")
