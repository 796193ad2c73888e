import struct
import zlib

import pytest

from multifocal.errors import UserError
from multifocal.volumes import component_count, read


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*, width=2, height=2, bits=8, colours=0, rows=b"\0ab\0cd", chunks=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


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


PALETTE = chunk(b"PLTE", bytes([0, 0, 0, 9, 8, 7, 255, 1, 2]))
CLEAR = chunk(b"tRNS", b"\0")


@pytest.mark.parametrize(
    ("content", "samples"),
    [
        # A label of 1 in 12 significant bits would be 0 after a shift by 4.
        ({"bits": 16, "rows": b"\0" + struct.pack(">2H", 1, 4095), "chunks": chunk(b"sBIT", b"\x0c")}, [1, 4095]),
        ({"bits": 16, "rows": b"\0" + struct.pack(">2H", 1, 4095)}, [1, 4095]),
        ({"rows": b"\0\x01\x1f", "chunks": chunk(b"sBIT", b"\x05")}, [1, 31]),
        ({"bits": 4, "rows": b"\0\x1f"}, [1, 15]),
        ({"bits": 2, "rows": b"\0\x60"}, [1, 2]),
        ({"bits": 1, "rows": b"\0\x40"}, [0, 1]),
        ({"rows": b"\0\x01\x1f", "chunks": chunk(b"tRNS", b"\0\1")}, [1, 31]),
        ({"colours": 3, "rows": b"\0\1\2", "chunks": PALETTE}, [1, 2]),
        ({"colours": 3, "rows": b"\0\1\2", "chunks": PALETTE + CLEAR}, [1, 2]),
        ({"colours": 3, "bits": 2, "rows": b"\0\x60", "chunks": PALETTE}, [1, 2]),
        ({"colours": 3, "bits": 1, "rows": b"\0\x40", "chunks": PALETTE}, [0, 1]),
    ],
)
def test_samples_are_those_in_the_file(tmp_path, content, samples):
    path = tmp_path / "a.png"
    path.write_bytes(png(height=1, **content))
    volume = read(path)
    assert volume.array.ravel().tolist() == samples and volume.geometry.spacing == (1, 1)


@pytest.mark.parametrize("extra", [b"", CLEAR])
def test_a_palette_has_colours_too(tmp_path, extra):
    path = tmp_path / "a.png"
    path.write_bytes(png(height=1, colours=3, rows=b"\0\1\2", chunks=PALETTE + extra))
    assert component_count(path) == 3
    colours = [read(path, component=number).array.ravel().tolist() for number in range(3)]
    assert colours == [[9, 255], [8, 1], [7, 2]]


@pytest.mark.parametrize(("bits", "form"), [(8, "B"), (16, "H")])
def test_colours_are_not_shifted(tmp_path, bits, form):
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(f">3{form}", 1, 31, 200)
    path.write_bytes(png(width=1, height=1, bits=bits, colours=2, rows=rows))
    assert [read(path, component=number).array.item() for number in range(3)] == [1, 31, 200]
    path.write_bytes(png(width=1, height=1, bits=bits, colours=2, rows=rows, chunks=chunk(b"sBIT", b"\5\5\5")))
    if bits == 8:
        assert [read(path, component=number).array.item() for number in range(3)] == [1, 31, 200]
    else:
        with pytest.raises(UserError, match="16-bit colours with significant bits"):
            read(path, component=0)
    with pytest.raises(UserError, match="3 components .* save one of them as a file of its own"):
        path.write_bytes(png(width=1, height=1, bits=bits, colours=2, rows=rows))
        read(path)
