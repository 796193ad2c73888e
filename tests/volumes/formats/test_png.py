import struct
import zlib

import pytest

from multifocal.errors import UserError
from multifocal.volumes import read


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*, width=2, height=2, bits=8, colours=0, rows=b"\0ab\0cd"):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_the_plain_header_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    assert read(tmp_path / "a.png").array.tobytes() == b"acbd"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(width=0), "size 0×2 of colour type 0 in the header is no image"),
        (png(height=0), "size 2×0"),
        (png(colours=5), "colour type 5"),
        (png(colours=4, rows=b"\0aabb\0ccdd"), "grey with transparency cannot be read; save it without transparency"),
        (png(width=2**30, height=2**30), "promises 1152921504606846976 bytes of voxels"),
        (png()[:-12], "the end of the PNG is missing"),
        (png()[:-1], "the end of the PNG is missing"),
        (png().replace(b"IDAT", b"IDAS"), "a checksum in the PNG is wrong"),
        (png().replace(b"\x89PNG", b"\x88PNG"), "not a PNG file"),
        (png()[:12] + b"XXXX" + png()[16:], "not a PNG file"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG file"),
    ],
)
def test_headers_that_cannot_be(tmp_path, content, message, capfd):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")
