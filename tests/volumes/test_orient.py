from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from multifocal.volumes import Geometry, Volume, axis_codes, orient, read

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
