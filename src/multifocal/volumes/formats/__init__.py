"""Image formats, one file each. A new one is a file here, or in another package, that registers an `ImageFormat`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from multifocal.errors import UserError, out_of_memory
from multifocal.quiet import quiet
from multifocal.registry import Registry
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.headers import Stored, damaged
from multifocal.volumes.resample import to_image

sitk.ProcessObject.GlobalWarningDisplayOff()


@dataclass(frozen=True, eq=False)
class OpenImage:
    """What is known before the voxels are read.

    Args:
        reader: the way to them, whatever the format makes of it.
        geometry: the grid.
        channels: numbers a voxel.
        components: scalar images in the file: channels times what there is along axes beyond the third.
        has_indices: whether there is one more, of whole numbers, that is read when no component is chosen.
    """

    reader: Any
    geometry: Geometry
    channels: int
    components: int
    has_indices: bool = False


class ImageFormat:
    """A file format of images: its endings, what its header must say, and what is not as SimpleITK reads and writes it.

    Attributes:
        endings: of file names, in lower case and with their dots.
        has_geometry: whether files say where their voxels lie; if not, spacing is 1.
        itk: ITK's name of the format, without which it finds none for a name in capitals; "" lets it look.

    Example:
        >>> FORMATS["nifti"].endings
        ('.nii', '.nii.gz')
    """

    endings: tuple[str, ...] = ()
    has_geometry: bool = True
    itk: str = ""

    def read_header(self, path: Path) -> Stored:
        """Return where a file keeps its voxels.

        Args:
            path: of the file, which is not empty.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        raise NotImplementedError

    def check_readable(self, path: Path) -> None:
        """Raise `UserError` where a file cannot be read whatever its header says.

        Args:
            path: of the file.
        """

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Raise `UserError` where a volume cannot be written.

        Args:
            path: where to.
            volume: what.
        """

    def remarks(self, path: Path) -> list[str]:
        """Return what in the header of a readable file other programs may read otherwise.

        Args:
            path: of the file.

        Returns:
            A text for each doubt; [] where there is none.
        """
        return []

    def open(self, path: Path) -> OpenImage:
        """Read the grid of an image whose header is sound.

        Args:
            path: of the file.

        Returns:
            The grid, and the way to the voxels.

        Raises:
            UserError: not readable, complex numbers, or an impossible geometry.
        """
        reader = sitk.ImageFileReader()
        reader.SetFileName(_characters(path))
        reader.SetImageIO(self.itk)
        try:
            with quiet():
                reader.ReadImageInformation()
        except (RuntimeError, MemoryError) as error:
            raise _not_read(path, error) from error
        if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
            raise UserError(f"{path}: holds complex numbers; save real ones, such as the magnitude")
        size = reader.GetSize()
        n = min(len(size), 3)
        direction = np.array(reader.GetDirection()).reshape(len(size), len(size))[:n, :n]
        spacing, origin = reader.GetSpacing()[:n], reader.GetOrigin()[:n]
        if not self.has_geometry:
            direction, spacing, origin = np.eye(n), (1.0,) * n, (0.0,) * n
        try:
            geometry = Geometry(size[:n], spacing, origin, tuple(direction.ravel()))
        except ValueError as error:
            raise UserError(f"{path}: {error}; correct the header or convert the image again") from error
        channels = reader.GetNumberOfComponents()
        return OpenImage(reader, geometry, channels, channels * int(np.prod(size[n:])))

    def read_voxels(self, path: Path, image: OpenImage, component: int | None) -> np.ndarray:
        """Read one scalar image.

        Args:
            path: of the file.
            image: what `open` returned.
            component: which of them, from 0; channels come first. None is the only one.

        Returns:
            Array in the axis order (x, y, z), C-contiguous.

        Raises:
            UserError: not readable.
        """
        try:
            with quiet():
                pixels = image.reader.Execute()
        except (RuntimeError, MemoryError) as error:
            raise _not_read(path, error) from error
        frame, channel = divmod(component or 0, image.channels)
        view = sitk.GetArrayViewFromImage(pixels).reshape(-1, *image.geometry.size[::-1], image.channels)
        return np.array(view[frame, ..., channel].T, order="C")

    def write(self, path: Path, volume: Volume) -> None:
        """Write an image, compressed.

        Args:
            path: where to.
            volume: what `check_writable` let pass.
        """
        with quiet():
            sitk.WriteImage(to_image(volume), _characters(path), useCompression=True)

    def place_voxels(self, stored: Stored, path: Path) -> None:
        """Move a file of voxels beside its header, where it is one of its own.

        Args:
            stored: where the voxels were written.
            path: where the header will be in a moment.
        """


FORMATS: Registry[ImageFormat] = Registry(
    "image format", package="multifocal.volumes.formats", group="multifocal.formats"
)


def _characters(path: Path) -> str:
    """Return a path as text, which ITK ends the process for want of."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError as error:
        raise UserError(f"{path}: has bytes in its name that are no characters (UTF-8); rename it") from error


def _not_read(path: Path, error: Exception) -> Exception:
    """Return what to raise for an error of ITK's: itself where memory is what it wants, for that is not the file's."""
    return error if out_of_memory(error, "") else damaged(path, f"cannot be read ({_reason(error)})")


def _reason(error: Exception) -> str:
    text = str(error).split("ERROR:")[-1]
    return " ".join(re.sub(r"\w+\(0x[0-9a-f]+\):", "", text).split())
