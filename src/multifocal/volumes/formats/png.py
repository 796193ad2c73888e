"""PNG (.png), read with Pillow: SimpleITK shifts samples by their significant bits, and has no indices of a palette."""

import struct
import zlib
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat, OpenImage
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.headers import Stored, damaged

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type
_PALETTE, _GREY_ALPHA = 3, 4
_COLOURS = 3
_DEEP = 16  # bits a sample


class Png(ImageFormat):
    """PNG: 2D, 1 to 16 bits, without geometry. Samples are as they are stored; those of a palette are its indices."""

    endings = (".png",)
    has_geometry = False
    itk = "PNGImageIO"

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
        chunks = _checked_chunks(path, data)
        width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
        if colours == _GREY_ALPHA:
            raise UserError(f"{path}: grey with transparency cannot be read; save it without transparency")
        if not (width and height) or colours not in _SAMPLES:
            raise damaged(path, f"size {width}×{height} of colour type {colours} in the header is no image")
        if bits == _DEEP and _SAMPLES[colours] >= _COLOURS and b"sBIT" in chunks:
            raise UserError(f"{path}: 16-bit colours with significant bits (sBIT) cannot be read; save it without them")
        row = (width * bits * _SAMPLES[colours] + 7) // 8
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

    def remarks(self, path: Path) -> list[str]:
        """Return that only some of the bits are significant, where the file says so.

        Args:
            path: of the file.

        Returns:
            A text, or none.
        """
        data = path.read_bytes()
        if b"sBIT" not in _checked_chunks(path, data):
            return []
        return ["says that not all of its bits are significant (sBIT); samples are read as they are stored"]

    def open(self, path: Path) -> OpenImage:
        """Read size and kind of an image.

        Args:
            path: of the file.

        Returns:
            The grid, with a spacing of 1, and the way to the pixels. An image with a palette has three components, its
            colours, and one reading without a component, the indices.

        Raises:
            UserError: not readable.
        """
        with path.open("rb") as file:
            width, height, bits, colours = struct.unpack_from(">IIBB", file.read(33), 16)
        if bits == _DEEP and _SAMPLES[colours] >= _COLOURS:
            return super().open(path)
        grid = Geometry((width, height), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        channels = _COLOURS if colours == _PALETTE else _SAMPLES[colours]
        return OpenImage(bits, grid, channels, channels, has_indices=colours == _PALETTE)

    def read_voxels(self, path: Path, image: OpenImage, component: int | None) -> np.ndarray:
        """Read one channel.

        Args:
            path: of the file.
            image: what `open` returned.
            component: which channel, from 0; None is the only one, or the indices of a palette.

        Returns:
            uint8 or uint16 (x, y), C-contiguous.

        Raises:
            UserError: not readable.
        """
        if not isinstance(image.reader, int):
            return super().read_voxels(path, image, component)
        from PIL import Image

        try:
            with Image.open(path) as picture:
                chosen = picture.convert("RGB") if image.has_indices and component is not None else picture
                pixels = np.asarray(chosen)
        except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: what Pillow has for a broken PNG
            raise damaged(path, f"cannot be read ({error})") from error
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8)
        elif picture.mode == "L" and image.reader < 8:
            pixels = pixels // (255 // (2**image.reader - 1))  # Pillow spreads samples of 2 and 4 bits over a byte
        return np.array((pixels if pixels.ndim == 2 else pixels[..., component or 0]).T, order="C")


FORMATS.register("png", Png())


def _checked_chunks(path: Path, data: bytes) -> set[bytes]:
    """Return the names of the chunks."""
    at, names = len(_SIGNATURE), [b""]
    while names[-1] != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4])
        names.append(data[at + 4 : at + 8])
        if end > len(data):
            raise damaged(path, "truncated: the end of the PNG is missing")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise damaged(path, "corrupt: a checksum in the PNG is wrong")
        at = end
    return set(names)
