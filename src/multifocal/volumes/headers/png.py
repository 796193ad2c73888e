"""The header of a PNG file."""

import struct
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.headers.stored import Stored, damaged

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
GREY_ALPHA = 4


def read_png(path: Path) -> Stored:
    """Read the size of a PNG file; a `UserError` says what is wrong."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[25] not in CHANNELS:
        raise damaged(path, "not a PNG file")
    width, height, bits, colours = struct.unpack_from(">IIBB", header, 16)
    if colours == GREY_ALPHA:
        raise UserError(f"{path}: grey with transparency cannot be read; save it without transparency")
    if not (width and height):
        raise damaged(path, f"size {width}×{height} in the header is not a size")
    row = (width * bits * CHANNELS[colours] + 7) // 8
    return Stored(path, 0, path.stat().st_size, row * height, "png")
