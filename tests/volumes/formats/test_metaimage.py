import gzip
import zlib

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.volumes import read, read_geometry

VOXELS = np.arange(1, 121, dtype="<i2")
STORED = VOXELS.tobytes()
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 1 1",
    "DimSize": "4 5 6",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


@pytest.fixture
def image(tmp_path):
    def make(*, voxels=STORED, name="a.mha", **changes):
        fields = {**FIELDS, **changes}
        last = fields.pop("ElementDataFile")  # by the format the last line of the header
        lines = [f"{key} = {value}\n" for key, value in fields.items() if value is not None]
        path = tmp_path / name
        path.write_bytes("".join([*lines, f"ElementDataFile = {last}\n"]).encode() + voxels)
        return path

    return make


def test_the_plain_header_is_read(image):
    np.testing.assert_array_equal(read(image()).array.ravel(order="F"), VOXELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ElementSpacing": "0 1 1"}, "spacing 0×1×1 is not positive"),
        ({"ElementSpacing": "-1 1 1"}, "spacing -1×1×1 is not positive"),
        ({"ElementSpacing": "nan 1 1"}, "ElementSpacing 'nan 1 1' in the header is not 3 finite numbers"),
        ({"ElementSpacing": "inf 1 1"}, "ElementSpacing"),
        ({"ElementSpacing": "one 1 1"}, "ElementSpacing"),
        ({"ElementSpacing": "1 1"}, "ElementSpacing"),
        ({"Offset": "nan 0 0"}, "Offset"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "direction .* is not orthonormal"),
        ({"TransformMatrix": "1 0.5 0 0 1 0 0 0 1"}, "not orthonormal"),
        ({"TransformMatrix": "2 0 0 0 2 0 0 0 2"}, "not orthonormal"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "not orthonormal"),
        ({"TransformMatrix": "nan 0 0 0 1 0 0 0 1"}, "TransformMatrix"),
        ({"TransformMatrix": "1 0 0"}, "TransformMatrix '1 0 0' in the header is not 9 finite numbers"),
        ({"DimSize": "0 5 6"}, "DimSize '0 5 6' in the header is not 3 positive whole numbers"),
        ({"DimSize": "-4 5 6"}, "DimSize"),
        ({"DimSize": "4.5 5 6"}, "DimSize"),
        ({"DimSize": "4 5"}, "DimSize"),
        ({"DimSize": None}, "DimSize"),
        ({"DimSize": f"{'9' * 5000} 1 1"}, "DimSize '9999.*\\.\\.\\.' in"),
        ({"DimSize": "100000 100000 100000"}, "promises 2000000000000000 bytes of voxels, a.mha holds 240 bytes"),
        (
            {"DimSize": "100000 100000 100000", "CompressedData": "True", "CompressedDataSize": "9"},
            "9 compressed bytes",
        ),
        ({"DimSize": "4 5 7"}, "truncated"),
        ({"ElementType": "MET_DOUBLE"}, "truncated"),
        ({"ElementNumberOfChannels": "2"}, "truncated"),
        ({"ElementNumberOfChannels": "0"}, "ElementNumberOfChannels"),
        ({"ElementType": "MET_STRING"}, "ElementType 'MET_STRING' is not a number type"),
        ({"NDims": "200"}, "NDims is 200; images have 2 to 5 axes"),
        ({"NDims": "1", "DimSize": "120"}, "NDims is 1"),
        ({"NDims": "two"}, "NDims 'two' in the header is not a positive whole number"),
        ({"HeaderSize": "1000"}, "truncated"),
        ({"CompressedData": "Maybe"}, "CompressedData 'Maybe' in the header is neither True nor False"),
        ({"CompressedData": "True"}, "CompressedDataSize '' in the header"),
        ({"CompressedData": "True", "CompressedDataSize": "241"}, "241 bytes of compressed voxels are promised, 240"),
        ({"CompressedData": "True", "CompressedDataSize": "240"}, "compressed voxels are corrupt"),
        ({"BinaryData": "False", "DimSize": "11 11 1"}, "promises 241 bytes of voxels"),
        ({"Offset": "0 0 0\na line without a sign\nanother", "ElementSpacing": None}, "DimSize '' in the header"),
    ],
)
def test_headers_that_cannot_be(image, changes, message, capfd):
    path = image(**changes)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 400
    assert capfd.readouterr() == ("", "")


def test_not_a_metaimage_at_all(tmp_path):
    (tmp_path / "a.mha").write_text("Dear reader,\nthis is a letter.\n")
    with pytest.raises(UserError, match="no ElementDataFile in its header"):
        read(tmp_path / "a.mha")


def test_compressed_voxels(image):
    for packed in (zlib.compress(STORED), gzip.compress(STORED)):
        path = image(voxels=packed, CompressedData="True", CompressedDataSize=str(len(packed)))
        np.testing.assert_array_equal(read(path).array.ravel(order="F"), VOXELS)
    for content, size, message in [
        (STORED[:-2], 0, "holds 238 bytes once unpacked"),
        (STORED, -1, "once unpacked"),
        (STORED, -40, "once unpacked"),
    ]:
        packed = zlib.compress(content)
        path = image(voxels=packed, CompressedData="True", CompressedDataSize=str(len(packed) + size))
        with pytest.raises(UserError, match=message):
            read(path)


def test_other_legal_forms(image):
    np.testing.assert_array_equal(
        read(image(voxels=VOXELS.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True")).array.ravel(order="F"), VOXELS
    )
    text = (" ".join(map(str, VOXELS)) + "\n").encode()
    np.testing.assert_array_equal(read(image(voxels=text, BinaryData="False")).array.ravel(order="F"), VOXELS)
    np.testing.assert_array_equal(read(image(voxels=b"head" + STORED, HeaderSize="-1")).array.ravel(order="F"), VOXELS)
    for changes in (
        {"Offset": "0 0 0\nNote = this: and = that"},
        {"BinaryDataByteOrderMSB": "False\na line without a sign takes the next key with it"},
        {"BinaryData": None},
    ):
        np.testing.assert_array_equal(read(image(**changes)).array.ravel(order="F"), VOXELS)
    assert read(image(ElementSpacing=None)).geometry.spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../secret.raw", "sub/../../secret.raw", "link.raw", "folder/secret.raw"]
)
def test_a_data_file_elsewhere_is_not_followed(tmp_path, image, name):
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.raw").write_bytes(STORED)
    (home / "link.raw").symlink_to(tmp_path / "secret.raw")
    (home / "folder").symlink_to(tmp_path)
    (home / "sub").mkdir()
    path = image(name="home/a.mhd", voxels=b"", ElementDataFile=name)
    for reader in (read, read_geometry):
        with pytest.raises(UserError, match="lies outside the header's folder; move both into one folder"):
            reader(path)


@pytest.mark.parametrize("name", ["LIST", "list 2D", "slice%03d.raw 1 6 1", "a\0b.raw"])
def test_lists_of_data_files_are_refused(image, name):
    with pytest.raises(UserError, match="not in one plain file; save the image as one .mha file"):
        read(image(name="a.mhd", voxels=b"", ElementDataFile=name))


def test_a_data_file_beside_its_header(tmp_path, image):
    path = image(name="a.mhd", voxels=b"", ElementDataFile="voxels.raw")
    with pytest.raises(UserError, match="data file 'voxels.raw' is missing"):
        read(path)
    (tmp_path / "voxels.raw").write_bytes(STORED)
    np.testing.assert_array_equal(read(path).array.ravel(order="F"), VOXELS)
    (tmp_path / "elsewhere.mhd").symlink_to(path)
    np.testing.assert_array_equal(read(tmp_path / "elsewhere.mhd").array.ravel(order="F"), VOXELS)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "voxels.raw").write_bytes(STORED)
    assert read(image(name="b.mhd", voxels=b"", ElementDataFile="in/voxels.raw")).array.shape == (4, 5, 6)
