import gzip
import struct

import nibabel
import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.volumes import Geometry, read

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
        ([("f", 80, 0)], r"pixdim \(0.0, 2.0, 3.0\) in the header is not a positive spacing"),
        ([("f", 84, -1)], "not a positive spacing"),
        ([("f", 88, NAN)], "pixdim '1.0 2.0 nan' in the header is not 3 finite numbers"),
        ([("f", 88, INF)], "pixdim"),
        ([("f", 280, NAN)], "qform and sform"),
        ([("f", 268, INF)], "qform and sform"),
        ([("f", 284, 0.5), ("h", 252, 0)], "orthonormal"),
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
