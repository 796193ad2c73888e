from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.transform import Rotation

from multifocal.volumes import Geometry, Volume, axis_codes, bounding_box, crop, orient, pad, read

GRID = Geometry((4, 5), (2.0, 3.0), (10.0, 20.0), (0, -1, 1, 0))


@settings(max_examples=50)
@given(data=st.data())
def test_cropped_voxels_keep_value_and_place(geometries, numbered, data):
    volume = numbered(data.draw(geometries()))
    lower = [data.draw(st.integers(0, n - 1)) for n in volume.geometry.size]
    upper = [data.draw(st.integers(a + 1, n)) for a, n in zip(lower, volume.geometry.size, strict=True)]
    box = crop(volume, lower=lower, upper=upper)
    np.testing.assert_array_equal(box.array, volume.array[tuple(map(slice, lower, upper))])
    np.testing.assert_allclose(box.geometry.origin, (volume.geometry.affine @ [*lower, 1])[:-1], atol=1e-9)
    assert (box.geometry.spacing, box.geometry.direction) == (volume.geometry.spacing, volume.geometry.direction)
    assert box.array.flags.c_contiguous


@settings(max_examples=50)
@given(data=st.data())
def test_padding_is_cropping_backwards(geometries, numbered, data):
    volume = numbered(data.draw(geometries()))
    lower, upper = ([data.draw(st.integers(0, 3)) for _ in volume.geometry.size] for _ in range(2))
    padded = pad(volume, lower=lower, upper=upper, fill=-7)
    np.testing.assert_array_equal(
        padded.array, np.pad(volume.array, list(zip(lower, upper, strict=True)), constant_values=-7)
    )
    back = crop(padded, lower=lower, upper=np.add(lower, volume.geometry.size))
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.geometry.differences(volume.geometry, tolerance=1e-9) == []


def test_pad_to_a_size_splits_the_rest_evenly(numbered):
    padded = pad(numbered(GRID), size=(8, 6))
    np.testing.assert_array_equal(padded.array, np.pad(numbered(GRID).array, [(2, 2), (0, 1)]))
    assert pad(numbered(GRID), size=np.array([4, 5])).geometry == GRID
    assert pad(numbered(GRID), upper=np.array([0, 1])).array.shape == (4, 6)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [((0, 0), (5, 5)), ((-1, 0), (4, 5)), ((2, 2), (2, 3)), ((3, 0), (2, 5)), ((0,), (4,)), ((0, 0, 0), (1, 1, 1))],
)
def test_crop_refuses_boxes_that_are_not_there(lower, upper, numbered):
    with pytest.raises(ValueError, match="empty or outside an image of size"):
        crop(numbered(GRID), lower=lower, upper=upper)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"size": (8, 8), "lower": (1, 1)},
        {"lower": (-1, 0)},
        {"size": (3, 5)},
        {"upper": (0, -2)},
        {"size": (8, 8, 8)},
    ],
)
def test_pad_refuses_unclear_requests(options, numbered):
    with pytest.raises(ValueError):
        pad(numbered(GRID), **options)


@pytest.mark.parametrize(
    ("dtype", "fill"), [(np.uint8, -1), (np.uint8, 256), (np.int16, 0.5), (np.int32, np.nan), (bool, 2)]
)
def test_pad_refuses_a_fill_that_the_dtype_changes(dtype, fill):
    with pytest.raises(ValueError, match="does not fit"):
        pad(Volume(np.zeros(GRID.size, dtype), GRID), size=(9, 9), fill=fill)


def test_pad_keeps_dtype_and_may_fill_with_nan():
    padded = pad(Volume(np.zeros(GRID.size, np.float32), GRID), size=(5, 5), fill=np.nan)
    assert padded.array.dtype == np.float32
    assert np.isnan(padded.array[4]).all()


@settings(max_examples=80)
@given(
    mask=hnp.arrays(
        np.int8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.sampled_from([0, 0, 0, 1, -2])
    )
)
def test_bounding_box_as_scipy_finds_it(mask):
    slices = ndimage.find_objects((mask != 0).astype(int))
    expected = None
    if slices:
        expected = tuple(s.start for s in slices[0]), tuple(s.stop for s in slices[0])
    assert bounding_box(mask) == expected
    assert bounding_box(np.asfortranarray(mask)) == expected
    assert bounding_box(np.flip(mask, 0).T) == bounding_box(np.ascontiguousarray(np.flip(mask, 0).T))


def test_bounding_box_counts_nan_as_something():
    assert bounding_box(np.array([[0.0, np.nan], [0.0, 0.0]])) == ((0, 1), (1, 2))


ALL_CODES = ["".join(codes) for order in permutations(["LR", "PA", "SI"]) for codes in product(*order)]


def codes_of(letters):
    """A grid whose axes run exactly towards these letters."""
    columns = [np.eye(3)["LPS".find(c)] if c in "LPS" else -np.eye(3)["RAI".find(c)] for c in letters]
    return Geometry((2, 3, 4), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0), tuple(np.array(columns).T.ravel()))


def points(volume):
    """Voxel value -> physical point of that voxel."""
    index = np.stack(np.indices(volume.array.shape)).reshape(volume.array.ndim, -1)
    physical = volume.geometry.affine[:-1] @ np.vstack([index, np.ones(index.shape[1])])
    return dict(zip(volume.array.ravel().tolist(), physical.T, strict=True))


@pytest.mark.parametrize("letters", ALL_CODES)
def test_every_orientation_as_simpleitk_turns_it(letters, numbered):
    volume = numbered(codes_of(letters))
    assert axis_codes(volume.geometry) == letters
    image = sitk.GetImageFromArray(volume.array.T)
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    for target in ("LPS", "RAS", "SAL"):
        turned, expected = orient(volume, axes=target), sitk.DICOMOrient(image, target)
        np.testing.assert_array_equal(turned.array, sitk.GetArrayFromImage(expected).T)
        np.testing.assert_allclose(turned.geometry.spacing, expected.GetSpacing())
        np.testing.assert_allclose(turned.geometry.origin, expected.GetOrigin())
        np.testing.assert_allclose(turned.geometry.direction, expected.GetDirection())


@settings(max_examples=60)
@given(data=st.data())
def test_no_voxel_moves_in_the_patient(geometries, numbered, data):
    volume = numbered(data.draw(geometries()))
    turned = orient(volume)
    before, after = points(volume), points(turned)
    assert before.keys() == after.keys()
    for value, point in before.items():
        np.testing.assert_allclose(after[value], point, atol=1e-9)
    assert axis_codes(turned.geometry) == "LPS"[: volume.geometry.ndim]
    assert turned.array.flags.c_contiguous
    assert orient(turned) is turned


@pytest.mark.parametrize("degrees", [0, 30, 44.999, 45, 45.001, 60, 90, 135, 180, 225, 270, 315])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1), (1, -1, 1)])
def test_any_tilt_gives_a_permutation(axis, degrees, numbered):
    matrix = Rotation.from_rotvec(np.deg2rad(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    turned = orient(numbered(Geometry((2, 3, 4), (1, 1, 1), (0, 0, 0), tuple(matrix.ravel()))))
    assert sorted(turned.geometry.size) == [2, 3, 4]
    assert (np.diag(turned.geometry.matrix) > -1e-9).all()
    assert axis_codes(turned.geometry) == "LPS"


def test_where_two_axes_claim_the_same_letter():
    # Both in-plane axes have their largest cosine along L; only one of them can have it.
    matrix = Rotation.from_euler("zyz", [40, 50, 10], degrees=True).as_matrix()
    claims = np.abs(matrix).argmax(0)
    assert len(set(claims)) < 3
    assert len(set(axis_codes(Geometry((2, 2, 2), (1, 1, 1), (0, 0, 0), tuple(matrix.ravel()))))) == 3


def test_2d_goes_by_the_letters_of_the_plane():
    flipped = Volume(np.array([[1, 2, 3], [4, 5, 6]]), Geometry((2, 3), (1, 2), (0, 0), (0, 1, -1, 0)))
    assert axis_codes(flipped.geometry) == "AL"
    for axes in ("LPS", "LP", "SLP"):
        turned = orient(flipped, axes=axes)
        assert turned.array.tolist() == [[4, 1], [5, 2], [6, 3]]
        assert axis_codes(turned.geometry) == "LP"
        assert turned.geometry.spacing == (2.0, 1.0)


@pytest.mark.parametrize("axes", ["LPP", "LR", "XYZ", "", "LPSI", "lps", "LA"])
def test_axes_must_name_each_direction_once(axes, oblique, numbered):
    with pytest.raises(ValueError, match="each of L/R, P/A and S/I once"):
        orient(numbered(oblique), axes=axes)


def test_real_cases_become_axial(bonbid):
    for path in sorted((bonbid / "1ADC_ss").glob("*.mha")):
        volume = read(path)
        turned = orient(volume)
        expected = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
        np.testing.assert_array_equal(turned.array, sitk.GetArrayFromImage(expected).T)
        np.testing.assert_allclose(turned.geometry.origin, expected.GetOrigin(), atol=1e-6)
