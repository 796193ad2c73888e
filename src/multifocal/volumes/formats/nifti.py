"""NIfTI-1 (.nii, .nii.gz)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat, OpenImage
from multifocal.volumes.geometry import Volume
from multifocal.volumes.headers import Stored, damaged, finite_numbers

_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 2304: 4}
_FLOATS = {16: "f4", 64: "f8"}
_HEADER_LENGTH = 348
_LARGEST_SIZE = 32767


class Nifti(ImageFormat):
    """NIfTI-1: 2D to 7D, one file; the geometry is in float32 (a relative error of about 1e-6)."""

    endings = (".nii", ".nii.gz")

    def read_header(self, path: Path) -> Stored:
        """Read where a NIfTI-1 file keeps its voxels; a `UserError` says which field is wrong.

        Args:
            path: of the file.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        packed, header = _start(path)
        if packed and path.suffix == ".nii":
            raise UserError(f"{path}: is compressed; rename it to end in .nii.gz")
        order = _byte_order(header)
        if len(header) < _HEADER_LENGTH or order is None or header[344:347] != b"n+1":
            raise UserError(
                f"{path}: not a NIfTI-1 file with header and voxels in one; save it as one, or copy it again"
            )
        dims, *sizes = struct.unpack_from(f"{order}8h", header, 40)
        if not 2 <= dims <= 7 or min(sizes[:dims]) < 1:
            raise damaged(path, f"dim {(dims, *sizes)} in the header is not a size")
        spacing = struct.unpack_from(f"{order}3f", header, 80)[:dims]
        if min(finite_numbers(path, "pixdim", spacing, len(spacing))) <= 0:
            raise damaged(path, f"pixdim {spacing} in the header is not a positive spacing")
        finite_numbers(path, "qform and sform", struct.unpack_from(f"{order}18f", header, 256), 18)
        (kind,) = struct.unpack_from(f"{order}h", header, 70)
        if kind not in _BYTES:
            raise UserError(f"{path}: NIfTI datatype {kind} cannot be read; convert it to a real number type")
        start = finite_numbers(path, "vox_offset", struct.unpack_from(f"{order}f", header, 108), 1)[0]
        offset, needed = max(int(start), _HEADER_LENGTH), math.prod(sizes[:dims]) * _BYTES[kind]
        length = path.stat().st_size
        if packed:
            return Stored(path, 0, length, offset + needed, "gzip")
        return Stored(path, offset, length - offset, needed)

    def check_readable(self, path: Path) -> None:
        """Refuse a .nii.gz beside a .nii of the same name.

        Args:
            path: of the file.

        Raises:
            UserError: there is one.
        """
        beside = path.with_suffix("")
        if path.name.endswith(".nii.gz") and beside.exists():
            # ITK takes the header of the one and the voxels of the other.
            raise UserError(
                f"{path}: {beside.name} lies beside it and would be read in its place; remove or rename one of them"
            )

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Refuse axes longer than the header can say.

        Args:
            path: where to.
            volume: what.

        Raises:
            UserError: one is longer.
        """
        if max(volume.geometry.size) > _LARGEST_SIZE:
            raise UserError(f"{path}: NIfTI holds at most {_LARGEST_SIZE} voxels an axis; write .mha instead")

    def read_voxels(self, path: Path, image: OpenImage, component: int) -> np.ndarray:
        """Read one scalar image, NaN and inf among its voxels.

        Args:
            path: of the file.
            image: what `open` returned.
            component: which of them, from 0; channels come first.

        Returns:
            Array in the axis order (x, y, z), C-contiguous; scaled numbers come out as float.

        Raises:
            UserError: not readable.
        """
        array = super().read_voxels(path, image, component)
        if array.dtype.kind == "f":
            _put_back_non_finite(array, path, image, component)
        return array


FORMATS.register("nifti", Nifti())


def _put_back_non_finite(array: np.ndarray, path: Path, image: OpenImage, component: int) -> None:
    # ITK reads the NaN and inf of a NIfTI file as 0; whoever checks the data must see them.
    values = _unchanged_floats(path, array.size * image.components)
    if values is not None:
        frame, channel = divmod(component, image.channels)
        values = values.reshape(image.channels, image.components // image.channels, *array.shape[::-1])
        values = values[channel, frame].T
        lost = ~np.isfinite(values)
        array[lost] = values[lost]


def _unchanged_floats(path: Path, count: int) -> np.ndarray | None:
    """Return the first `count` voxels of a float NIfTI file as they are stored; None if it holds integers.

    ITK reads NaN and inf as 0. Here they can be looked up (an inf with the sign that the file's scale gives it).
    """
    packed, header = _start(path)
    order = _byte_order(header)
    kind, offset, slope = (
        struct.unpack_from(f"{order}{form}", header, at)[0] for form, at in (("h", 70), ("f", 108), ("f", 112))
    )
    if kind not in _FLOATS:
        return None
    with gzip.open(path) if packed else path.open("rb") as file:
        file.seek(max(int(offset), _HEADER_LENGTH))
        dtype = np.dtype(f"{order}{_FLOATS[kind]}")
        values = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return -values if slope < 0 else values


def _byte_order(header: bytes) -> str | None:
    return next((order for order in "<>" if header[:4] == struct.pack(f"{order}i", _HEADER_LENGTH)), None)


def _start(path: Path) -> tuple[bool, bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        with path.open("rb") as file:
            return False, file.read(_HEADER_LENGTH)
    try:
        with gzip.open(path) as file:
            return True, file.read(_HEADER_LENGTH)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"compressed voxels are corrupt ({error})") from error
