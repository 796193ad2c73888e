"""PNG (.png), whose chunks have checksums."""

import struct
import zlib
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat
from multifocal.volumes.geometry import Volume
from multifocal.volumes.headers import Stored, damaged

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_GREY_ALPHA = 4


class Png(ImageFormat):
    """PNG: 2D, 8 or 16 bits, without geometry."""

    endings = (".png",)
    has_geometry = False

    def read_header(self, path: Path) -> Stored:
        """Read the size of a PNG file, and check its chunks.

        Args:
            path: of the file.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        data = path.read_bytes()
        if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
            raise damaged(path, "not a PNG file")
        _check_chunks(path, data)
        width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
        if colours == _GREY_ALPHA:
            raise UserError(f"{path}: grey with transparency cannot be read; save it without transparency")
        if not (width and height) or colours not in _CHANNELS:
            raise damaged(path, f"size {width}×{height} of colour type {colours} in the header is no image")
        row = (width * bits * _CHANNELS[colours] + 7) // 8
        return Stored(path, 0, len(data), row * height, "png")

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Refuse what is not 2D uint8 or uint16.

        Args:
            path: where to.
            volume: what.

        Raises:
            UserError: it is something else.
        """
        dtype, ndim = volume.array.dtype, volume.geometry.ndim
        if ndim != 2 or dtype not in (np.bool_, np.uint8, np.uint16):
            raise UserError(f"{path}: PNG holds 2D uint8 or uint16, not {ndim}D {dtype}; write .mha instead")


FORMATS.register("png", Png())


def _check_chunks(path: Path, data: bytes) -> None:
    at, name = len(_SIGNATURE), b""
    while name != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4])
        name = data[at + 4 : at + 8]
        if end > len(data):
            raise damaged(path, "truncated: the end of the PNG is missing")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise damaged(path, "corrupt: a checksum in the PNG is wrong")
        at = end
