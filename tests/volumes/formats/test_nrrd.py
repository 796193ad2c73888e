import bz2
import gzip
import zlib

import numpy as np
import pytest

from multifocal.errors import UserError
from multifocal.volumes import read

VOXELS = np.arange(1, 121, dtype="<i2")
STORED = VOXELS.tobytes()
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 5 6",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(7,8,9)",
}
NO_SPACE = {"space": None, "space directions": None, "space origin": None}


@pytest.fixture
def image(tmp_path):
    def make(changes=(), *, voxels=STORED):
        fields = {**FIELDS, **dict(changes)}
        lines = [f"{key}: {value}\n" for key, value in fields.items() if value is not None]
        path = tmp_path / "a.nrrd"
        path.write_bytes("".join(["NRRD0004\n# a comment: ignored\nkey:=value\n", *lines, "\n"]).encode() + voxels)
        return path

    return make


def test_the_plain_header_is_read(image):
    volume = read(image())
    np.testing.assert_array_equal(volume.array.ravel(order="F"), VOXELS)
    assert (volume.geometry.spacing, volume.geometry.origin) == ((1, 2, 3), (7, 8, 9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": "0 5 6"}, "sizes '0 5 6' in the header is not 3 positive whole numbers"),
        ({"sizes": "-4 5 6"}, "sizes"),
        ({"sizes": "4 5"}, "sizes"),
        ({"sizes": "100000 100000 100000"}, "promises 2000000000000000 bytes"),
        ({"sizes": "100000 100000 100000", "encoding": "gzip"}, "240 compressed bytes"),
        ({"sizes": "4 5 7"}, "truncated"),
        ({"type": "double"}, "truncated"),
        ({"type": "unsigned long long int"}, "truncated"),
        ({"type": "block"}, "type 'block' is not a number type"),
        ({"type": None}, "type '' is not a number type"),
        ({"dimension": "x"}, "dimension 'x'"),
        ({"space directions": "(1,0,0) (0.5,1,0) (0,0,1)"}, "not orthonormal"),
        ({"space directions": "(1,0,0) (1,0,0) (0,0,1)"}, "not orthonormal"),
        ({"space directions": "(0,0,0) (0,1,0) (0,0,1)"}, "not positive"),
        ({"space directions": "(nan,0,0) (0,1,0) (0,0,1)"}, "space directions 'nan 0 0' in the header"),
        ({"space directions": "(nan,nan,nan) (0,1,0) (0,0,1)"}, "space directions"),
        ({"space directions": "none (0,1,0) (0,0,1)"}, "do not span its space"),
        ({"space origin": "(nan,nan,nan)"}, "space origin"),
        ({"space origin": "(inf,0,0)"}, "space origin"),
        ({**NO_SPACE, "spacings": "nan 1 1"}, "spacings 'nan 1 1' in the header is not 3 finite numbers"),
        ({**NO_SPACE, "spacings": "-2 1 1"}, "spacings '-2 1 1' in the header are not all positive"),
        ({**NO_SPACE, "spacings": "0 1 1"}, "not all positive"),
        ({"encoding": "bzip2"}, "encoding 'bzip2' cannot be read; save the file with raw or gzip encoding"),
        ({"encoding": None}, "encoding ''"),
        ({"encoding": "gzip"}, "compressed voxels are corrupt"),
        ({"encoding": "hex"}, "promises 480 bytes"),
        ({"encoding": "ascii", "sizes": "11 11 1"}, "promises 241 bytes"),
        ({"line skip": "1"}, "'line skip' is not supported"),
        ({"byte skip": "1"}, "truncated"),
        ({"data file": "/etc/hostname"}, "lies outside the header's folder"),
        ({"data file": "../a.raw"}, "lies outside the header's folder"),
        ({"datafile": "LIST"}, "not in one plain file"),
        ({"data file": "slice%03d.raw 1 6 1"}, "not in one plain file"),
        ({"data file": "gone.raw"}, "'gone.raw' is missing"),
    ],
)
def test_headers_that_cannot_be(image, changes, message, capfd):
    path = image(changes)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_a_header_without_end(tmp_path):
    for content in (b"NRRD0004\ntype: short\n", b"\n\n\n", b"no\n\nnrrd"):
        (tmp_path / "a.nrrd").write_bytes(content)
        with pytest.raises(UserError, match="not a NRRD file, or its header has no end"):
            read(tmp_path / "a.nrrd")


def test_other_legal_forms(tmp_path, image):
    text = " ".join(map(str, VOXELS)).encode()
    (tmp_path / "voxels.raw").write_bytes(STORED)
    for changes, voxels in [
        ({"encoding": "gzip"}, gzip.compress(STORED)),
        ({"encoding": "GZ"}, gzip.compress(STORED)),
        ({"encoding": "ascii"}, text),
        ({"encoding": "hex"}, STORED.hex().encode()),
        ({"endian": "big"}, VOXELS.astype(">i2").tobytes()),
        ({"byte skip": "-1"}, b"head" + STORED),
        ({"byte skip": "4"}, b"head" + STORED),
        ({"type": "signed short int"}, STORED),
        ({"data file": "voxels.raw"}, b""),
    ]:
        np.testing.assert_array_equal(read(image(changes, voxels=voxels)).array.ravel(order="F"), VOXELS)


def test_zlib_is_not_gzip(image):
    with pytest.raises(UserError, match="corrupt"):
        read(image({"encoding": "gzip"}, voxels=zlib.compress(STORED)))
    with pytest.raises(UserError, match="bz2"):
        read(image({"encoding": "bz2"}, voxels=bz2.compress(STORED)))


def test_geometry_without_a_space(image):
    assert read(image({**NO_SPACE, "spacings": "2 3 4"})).geometry.spacing == (2, 3, 4)
    vector = {"dimension": "4", "sizes": "2 3 4 5", "kinds": "vector domain domain domain"}
    assert read(image({**NO_SPACE, **vector, "spacings": "nan 2 3 4"}), component=1).geometry.spacing == (2, 3, 4)
    directions = {"space directions": "none (1,0,0) (0,2,0) (0,0,3)"}
    volume = read(image({**vector, **directions}), component=1)
    assert volume.geometry.size == (3, 4, 5)
    np.testing.assert_array_equal(volume.array.ravel(order="F"), VOXELS[1::2])


def test_right_anterior_superior_becomes_lps(image):
    geometry = read(image({"space": "right-anterior-superior"})).geometry
    assert geometry.origin == (-7, -8, 9)
    assert geometry.direction == (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_complex_numbers_are_refused(image):
    complex_pairs = {"type": "float", "sizes": "2 2 3 5", "dimension": "4", "kinds": "complex domain domain domain"}
    path = image({**complex_pairs, "space directions": "none (1,0,0) (0,1,0) (0,0,1)"})
    with pytest.raises(UserError, match="complex|cannot be read"):
        read(path)
