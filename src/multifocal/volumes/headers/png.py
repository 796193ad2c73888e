"""The header of a PNG file, and the checksums of its chunks."""

import struct
import zlib
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.headers.stored import Stored, damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY_ALPHA = 4


def read_png(path: Path) -> Stored:
    """Read the size of a PNG file; a `UserError` says what is wrong."""
    data = path.read_bytes()
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise damaged(path, "not a PNG file")
    _check_chunks(path, data)
    width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
    if colours == GREY_ALPHA:
        raise UserError(f"{path}: grey with transparency cannot be read; save it without transparency")
    if not (width and height) or colours not in CHANNELS:
        raise damaged(path, f"size {width}×{height} of colour type {colours} in the header is no image")
    row = (width * bits * CHANNELS[colours] + 7) // 8
    return Stored(path, 0, len(data), row * height, "png")


def _check_chunks(path: Path, data: bytes) -> None:
    at, name = len(SIGNATURE), b""
    while name != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4])
        name = data[at + 4 : at + 8]
        if end > len(data):
            raise damaged(path, "truncated: the end of the PNG is missing")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise damaged(path, "corrupt: a checksum in the PNG is wrong")
        at = end
