import dataclasses
import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from multifocal.errors import UserError
from multifocal.volumes import Geometry, Volume, read, write

VOXELS = np.arange(1, 121, dtype="<i2")
STORED = VOXELS.tobytes()
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def image(tmp_path):
    def make(*changes, name="a.nii", voxels=STORED):
        """Each change: form, offset, values."""
        header = bytearray(352)
        struct.pack_into("<i", header, 0, 348)
        struct.pack_into("<8h", header, 40, 3, 4, 5, 6, 1, 1, 1, 1)
        struct.pack_into("<hh", header, 70, 4, 16)
        struct.pack_into("<4f", header, 76, 1, 1, 2, 3)
        struct.pack_into("<f", header, 108, 352)
        struct.pack_into("<hh", header, 252, 1, 1)
        struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0)
        header[344:348] = b"n+1\0"
        for form, offset, *values in changes:
            struct.pack_into(f"<{form}", header, offset, *values)
        content = bytes(header) + voxels
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return path

    return make


def test_the_plain_header_is_read(image):
    for name in ("a.nii", "packed.nii.gz"):
        volume = read(image(name=name))
        np.testing.assert_array_equal(volume.array.ravel(order="F"), VOXELS)
        assert volume.geometry == Geometry((4, 5, 6), (1, 2, 3), (0, 0, 0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("f", 80, 0), ("h", 254, 0)], r"pixdim \(0.0, 2.0, 3.0\) in the header is not a positive spacing"),
        ([("f", 84, -1), ("h", 254, 0)], "not a positive spacing"),
        ([("f", 88, NAN)], "pixdim '1.0 2.0 nan' in the header is not 3 finite numbers"),
        ([("f", 88, INF)], "pixdim"),
        ([("f", 280, NAN)], "qform and sform"),
        ([("f", 268, INF)], "qform and sform"),
        ([("f", 284, 0.5), ("h", 252, 0)], r"neither qform nor sform is a grid \(axes sheared, .* resample the image"),
        ([("h", 40, 0)], r"dim \(0, 4, 5, 6, 1, 1, 1, 1\) in the header is not a size"),
        ([("h", 40, 9)], "is not a size"),
        ([("h", 40, 1)], "is not a size"),
        ([("h", 42, 0)], "is not a size"),
        ([("h", 42, -4)], "is not a size"),
        ([("3h", 42, 32000, 32000, 32000)], "truncated, or its header is wrong"),
        ([("h", 46, 7)], "truncated, or its header is wrong"),
        ([("h", 70, 64)], "truncated, or its header is wrong"),
        ([("f", 108, 353)], "truncated, or its header is wrong"),
        ([("f", 108, 1e9)], "truncated, or its header is wrong"),
        ([("f", 108, NAN)], "vox_offset"),
        ([("h", 70, 32)], "datatype 32 cannot be read; convert it to a real number type"),
        ([("h", 70, 9999)], "datatype 9999 cannot be read"),
        ([("4s", 344, b"ni1\0")], "not a NIfTI-1 file with header and voxels in one"),
        ([("4s", 344, b"zzzz")], "not a NIfTI-1 file"),
        ([("i", 0, 540)], "not a NIfTI-1 file"),
    ],
)
def test_headers_that_cannot_be(image, name, changes, message, capfd):
    path = image(*changes, name=name)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_nifti_2_and_pairs_are_named_as_such(tmp_path):
    nibabel.save(nibabel.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "two.nii")
    with pytest.raises(UserError, match="not a NIfTI-1 file with header and voxels in one"):
        read(tmp_path / "two.nii")


def test_other_legal_forms(tmp_path, image):
    for form in [("f", 108, 0), ("f", 112, NAN), ("f", 112, 0)]:
        path = image(form)
        assert read(path).array.shape == (4, 5, 6)
    big = nibabel.Nifti1Image(VOXELS.reshape(4, 5, 6).astype(">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "big.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "big.nii.gz").array, VOXELS.reshape(4, 5, 6))
    extended = nibabel.Nifti1Image(VOXELS.reshape(4, 5, 6), np.eye(4))
    extended.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a note" * 100))
    nibabel.save(extended, tmp_path / "extended.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "extended.nii.gz").array, VOXELS.reshape(4, 5, 6))
    flat = nibabel.Nifti1Image(VOXELS.reshape(10, 12), np.eye(4))
    nibabel.save(flat, tmp_path / "flat.nii")
    np.testing.assert_array_equal(read(tmp_path / "flat.nii").array, VOXELS.reshape(10, 12))


def test_a_sheared_sform_gives_way_to_a_sound_qform(image):
    assert read(image(("f", 284, 0.5))).geometry.spacing == (1, 2, 3)


def tilted(*, degrees=20.0, spacing=(1.0, 2.0, 4.0), offset=(-30.0, 12.0, 7.0)):
    """An affine in RAS, turned about two axes."""
    a, b = np.radians([degrees, degrees / 3])
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.array(about_z) @ about_x @ np.diag(spacing), offset
    return affine


def saved(path, *, sform=None, qform=None, codes=(1, 1), zooms=None, data=None):
    """Save with nibabel: forms of RAS, qform code first, and other voxel sizes in pixdim than either has."""
    made = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6) if data is None else data, None)
    made.header.set_qform(np.eye(4) if qform is None else qform, codes[0])
    made.header.set_sform(np.eye(4) if sform is None else sform, codes[1])
    if zooms:
        made.header["pixdim"][1:4] = zooms
    # Nifti1Image would overwrite the forms with its affine.
    made.header["magic"], made.header["vox_offset"] = b"n+1", 352
    path.write_bytes(made.header.binaryblock + b"\0" * 4 + np.asarray(made.dataobj).tobytes(order="F"))
    return path


def in_ras(geometry):
    return np.diag([-1, -1, 1, 1]) @ geometry.affine


@pytest.mark.parametrize("zooms", [(1, 2, 8), (2, 1, 4), (1, 1, 1), (0, 0, 0), (-1, 2, 4)])
def test_voxel_sizes_come_from_the_form_that_places_them(tmp_path, zooms):
    # A changed zoom, a permuted order of axes: nibabel's affine is the reference, and the volume follows from it.
    path = saved(tmp_path / "a.nii", sform=tilted(), qform=tilted(), zooms=zooms)
    geometry = read(path).geometry
    affine = nibabel.load(path).affine
    np.testing.assert_allclose(in_ras(geometry), affine, atol=1e-5)
    assert geometry.voxel_ml == pytest.approx(abs(np.linalg.det(affine[:3, :3])) / 1000, rel=1e-5)
    assert any("pixdim's" in text for text in geometry.nifti.differences(geometry.size))


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (1, 4), (2, 1)])
def test_the_form_that_holds_is_nibabels(tmp_path, codes):
    path = saved(tmp_path / "a.nii", sform=tilted(offset=(0, 27.5, 0)), qform=tilted(degrees=5), codes=codes)
    geometry = read(path).geometry
    np.testing.assert_allclose(in_ras(geometry), nibabel.load(path).affine, atol=1e-5)
    assert bool(geometry.nifti.differences(geometry.size)) == (0 not in codes)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_a_mask_takes_both_forms_home(tmp_path, name):
    source = saved(tmp_path / "a.nii", sform=tilted(offset=(0, 27.5, 0)), qform=tilted(degrees=5), codes=(1, 2))
    home = read(source).geometry
    mask = Volume((np.arange(120).reshape(4, 5, 6) % 3 == 0), home)
    write(tmp_path / name, mask)
    before, after = nibabel.load(source).header, nibabel.load(tmp_path / name).header
    for key in ("qform_code", "sform_code", "pixdim", "quatern_b", "qoffset_x", "srow_x", "srow_y", "srow_z"):
        np.testing.assert_array_equal(before[key], after[key])
    np.testing.assert_array_equal(nibabel.load(tmp_path / name).get_fdata(), mask.array)
    # Whichever form a program prefers, mask and image lie on each other.
    itk = [sitk.ReadImage(str(path)) for path in (source, tmp_path / name)]
    assert itk[0].GetOrigin() == itk[1].GetOrigin() and itk[0].GetDirection() == itk[1].GetDirection()
    assert read(tmp_path / name).geometry.differences(home) == []


def test_a_mask_that_nibabel_saved_by_the_sform_is_on_the_same_grid(tmp_path):
    source = saved(tmp_path / "a.nii", sform=tilted(offset=(0, 27.5, 0)), qform=tilted(degrees=5))
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), nibabel.load(source).affine), tmp_path / "m.nii")
    assert read(tmp_path / "m.nii").geometry.differences(read(source).geometry) == []


def test_forms_do_not_follow_an_image_onto_another_grid(tmp_path):
    home = read(saved(tmp_path / "a.nii", sform=tilted(), qform=tilted(degrees=5))).geometry
    moved = dataclasses.replace(home, origin=(1.0, 2.0, 3.0))
    write(tmp_path / "b.nii", Volume(np.zeros(home.size, np.uint8), moved))
    assert read(tmp_path / "b.nii").geometry.differences(moved) == []


@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), flips=st.tuples(*[st.sampled_from([-1, 1])] * 3))
def test_any_direction_is_written_for_both_kinds_of_reader(tmp_path_factory, angles, flips):
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * flips
    grid = Geometry((3, 4, 5), (0.5, 1.0, 4.0), (10.0, -20.0, 30.0), tuple(direction.ravel()))
    path = tmp_path_factory.mktemp("any") / "a.nii"
    write(path, Volume(np.zeros(grid.size, np.uint8), grid))
    header = nibabel.load(path).header
    lps = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(lps @ header.get_sform(), grid.affine, atol=1e-5)
    # A qform leaves its real part to be found from the other three, in float32.
    np.testing.assert_allclose(lps @ header.get_qform(), grid.affine, atol=5e-3)
    assert read(path).geometry.differences(grid) == [] and read(path).geometry.nifti.differences(grid.size) == []


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, -1024.0), (NAN, 7.0), (0.0, 0.0)])
def test_a_slope_of_zero_scales_nothing(image, slope, intercept):
    array = read(image(("2f", 112, slope, intercept))).array
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array.ravel(order="F"), VOXELS)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_scaled_values_are_nibabels(tmp_path, dtype):
    made = nibabel.Nifti1Image(np.arange(120).astype(dtype).reshape(4, 5, 6), np.eye(4))
    made.header.set_slope_inter(-2.5, 1024.25)
    path = tmp_path / "a.nii.gz"
    nibabel.save(made, path)
    np.testing.assert_allclose(read(path).array, nibabel.load(path).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize(("change", "field"), [(("f", 112, INF), "scl_slope"), (("2f", 112, 2, NAN), "scl_inter")])
def test_a_scale_that_is_no_number_is_refused(image, change, field):
    with pytest.raises(UserError, match=field):
        read(image(change))


@pytest.mark.parametrize(("units", "scale"), [(0, 1.0), (2, 1.0), (10, 1.0), (1, 1000.0), (3, 0.001)])
def test_lengths_are_in_mm_whatever_the_file_has(image, units, scale):
    geometry = read(image(("B", 123, units), ("f", 292, 5.0))).geometry
    assert geometry.spacing == pytest.approx((1 * scale, 2 * scale, 3 * scale))
    assert geometry.origin == pytest.approx((-5 * scale, 0, 0))


@pytest.mark.parametrize("intent", [0, 1007])
def test_components_are_counted_as_itk_has_them(tmp_path, intent):
    array = np.arange(2 * 3 * 4 * 2 * 5, dtype=np.int16).reshape(2, 3, 4, 2, 5, order="F")
    made = nibabel.Nifti1Image(array, np.eye(4))
    made.header["intent_code"] = intent
    nibabel.save(made, tmp_path / "a.nii")
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii")))
    itk = itk.reshape(2, 4, 3, 2, 5) if intent else itk.reshape(10, 4, 3, 2, 1)
    for component in range(10):
        frame, channel = divmod(component, itk.shape[-1])
        np.testing.assert_array_equal(read(tmp_path / "a.nii", component=component).array.T, itk[frame, ..., channel])


def test_a_2d_image_that_is_no_axial_slice_says_so(image):
    coronal = [("8h", 40, 2, 4, 5, 1, 1, 1, 1, 1), ("12f", 280, 1, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0), ("h", 252, 0)]
    with pytest.raises(UserError, match="a 2D image that is no axial slice; save it as a 3D image of one slice"):
        read(image(*coronal, voxels=STORED[:40]))
