"""`data check` on a folder with one of each odd header names every one of them."""

import csv
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest

from multifocal.volumes import Geometry, Volume, write
from multifocal.volumes.nifti_forms import forms_of

GRID = Geometry((10, 9, 8), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
FORMS = forms_of(GRID.affine)
SHEARED = tuple(np.array([[-1, 0.5, 0, 0], [0, -1, 0, 0], [0, 0, 2, 0]], float).ravel())
# What is wrong with a header, and what is said of it; a form of struct, an offset, values.
ODD = {
    "zoom": ([("3f", 80, 1, 1, 4)], "pixdim's 1×1×4 mm are not the sform's 1×1×2 mm"),
    "order": ([("3f", 80, 2, 1, 1)], "pixdim's 2×1×1 mm are not the sform's 1×1×2 mm"),
    "zero": ([("f", 80, 0)], "pixdim's 0×1×2 mm are not the sform's"),
    "negative": ([("f", 84, -1)], "pixdim's 1×-1×2 mm are not the sform's"),
    "apart": ([("f", 272, 27.5)], "its qform places it up to 27.5 mm from its sform"),
    "slope": ([("2f", 112, 0, -1024)], "scl_inter -1024 is left aside"),
    "sheared": ([("12f", 280, *SHEARED), ("h", 252, 0)], "neither qform nor sform is a grid (axes sheared"),
    "given way": ([("12f", 280, *SHEARED)], "the sform is no grid and passed over; the qform is used"),
    "coronal": ([("8h", 40, 2, 10, 9, 1, 1, 1, 1, 1), ("12f", 280, -1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 0),
                 ("h", 252, 0)], "a 2D image that is no axial slice"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A manifest of cases that are like a good one but for their headers."""
    values = np.random.default_rng(0).uniform(800, 1500, GRID.size).astype(np.float32)
    rows = []
    for number, (name, (changes, _)) in enumerate([("good", ([], "")), *ODD.items()]):
        path = tmp_path / f"{name}.nii"
        write(path, Volume(values + number, replace(GRID, nifti=FORMS)))
        data = bytearray(path.read_bytes())
        for form, offset, *numbers in changes:
            struct.pack_into(f"<{form}", data, offset, *numbers)
        path.write_bytes(data)
        rows.append({"case": name, "image": path.name})
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["case", "image"])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "cases.csv"


def test_every_odd_header_is_named(multifocal, folder):
    ended = multifocal("data", "check", folder)
    said = (ended.out + ended.err).splitlines()
    for name, (_, text) in ODD.items():
        assert any(f"case {name}: " in line and text in line for line in said), (name, said)
    assert not any("case good: " in line for line in said)
    assert ended.code == 2 and "unusable: 2 errors, 7 warnings" in ended.out


def test_significant_bits_of_a_png_are_named(multifocal, tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes(range(y, y + 8)) for y in range(8))
    for number, extra in enumerate((b"", chunk(b"sBIT", b"\5"))):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
        image = (
            header + extra + chunk(b"IDAT", zlib.compress(rows.replace(b"\7", bytes([number])))) + chunk(b"IEND", b"")
        )
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + image)
    ended = multifocal("data", "check", tmp_path)
    told = [line for line in (ended.out + ended.err).splitlines() if "sBIT" in line]
    assert len(told) == 1 and "case 1: " in told[0]
