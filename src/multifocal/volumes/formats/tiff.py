"""TIFF (.tif, .tiff): one page, read with Pillow. Its resolution says how to print it, not where its pixels lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import numpy as np

from multifocal.errors import UserError
from multifocal.quiet import quiet
from multifocal.volumes.formats import FORMATS, ImageFormat, OpenImage
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.headers import Stored, damaged

_CHANNELS = {"1": 1, "L": 1, "I;16": 1, "I;16B": 1, "I": 1, "F": 1, "P": 3, "RGB": 3, "RGBA": 4}
_PALETTE = "P"
_WRITABLE = ("bool", "uint8", "uint16", "int32", "float32")
_OFFSETS_AND_LENGTHS = ((273, 279), (324, 325))  # of strips, of tiles


class Tiff(ImageFormat):
    """TIFF: 2D, of one page, without geometry; whole numbers up to 32 bits, float32, palette indices, or colours."""

    endings = (".tif", ".tiff")
    has_geometry = False

    def read_header(self, path: Path) -> Stored:
        """Check that a TIFF file has one page of a kind that is read, and all of its pixels.

        Args:
            path: of the file.

        Returns:
            The whole file: how pixels are packed is Pillow's to know.

        Raises:
            UserError: several pages, numbers that are not read, or a file that ends early.
        """
        with _opened(path) as page:
            if getattr(page, "n_frames", 1) > 1:
                raise UserError(f"{path}: holds {page.n_frames} pages; save one of them as a file of its own")
            if page.mode not in _CHANNELS:
                raise UserError(f"{path}: pixels of kind {page.mode} cannot be read; save grey, RGB or a palette")
            length = path.stat().st_size
            for offsets, lengths in _OFFSETS_AND_LENGTHS:
                pieces = zip(_numbers(page, offsets), _numbers(page, lengths), strict=False)
                if any(start + count > length for start, count in pieces):
                    raise damaged(path, "truncated: pixels are promised beyond the end of the file")
        return Stored(path, 0, length, 0)

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Refuse what is not 2D, or of numbers that other programs would not read.

        Args:
            path: where to.
            volume: what.

        Raises:
            UserError: it is something else.
        """
        dtype, ndim = volume.array.dtype, volume.geometry.ndim
        if ndim != 2 or dtype.name not in _WRITABLE:
            raise UserError(
                f"{path}: TIFF holds 2D {', '.join(_WRITABLE[1:])}, not {ndim}D {dtype}; write .mha instead"
            )

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
        with _opened(path) as page:
            grid = Geometry(page.size, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
            channels = _CHANNELS[page.mode]
            return OpenImage(page.mode, grid, channels, channels, has_indices=page.mode == _PALETTE)

    def read_voxels(self, path: Path, image: OpenImage, component: int | None) -> np.ndarray:
        """Read one channel.

        Args:
            path: of the file.
            image: what `open` returned.
            component: which channel, from 0; None is the only one, or the indices of a palette.

        Returns:
            Array (x, y), C-contiguous.

        Raises:
            UserError: not readable.
        """
        with _opened(path) as page:
            pixels = np.asarray(page.convert("RGB") if image.has_indices and component is not None else page)
        if pixels.dtype == np.bool_:
            pixels = pixels.astype(np.uint8)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return np.array((pixels if pixels.ndim == 2 else pixels[..., component or 0]).T, order="C")

    def write(self, path: Path, volume: Volume) -> None:
        """Write an image, compressed.

        Args:
            path: where to.
            volume: what `check_writable` let pass.
        """
        from PIL import Image

        array = volume.array.astype(np.uint8) if volume.array.dtype == np.bool_ else volume.array
        Image.fromarray(np.ascontiguousarray(array.T)).save(path, format="TIFF", compression="tiff_adobe_deflate")


FORMATS.register("tiff", Tiff())


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from PIL import Image

    try:
        # libtiff and Pillow complain on stderr; what matters of it is an error.
        with quiet(), catch_warnings(action="ignore"), Image.open(path, formats=["TIFF"]) as page:
            yield page
    except UserError:
        raise
    # What Pillow has for a broken TIFF: numbers that make no sense reach NumPy and struct through it.
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        Image.DecompressionBombError,
    ) as error:
        reason = " ".join(str(error).replace(str(path), "").split()) or type(error).__name__
        raise damaged(path, f"cannot be read as TIFF ({reason})") from error


def _numbers(page: Any, tag: int) -> tuple[int, ...]:
    found = page.tag_v2.get(tag, ())
    return tuple(found) if isinstance(found, tuple) else (found,)
