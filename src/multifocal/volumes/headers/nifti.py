"""The header of a NIfTI-1 file (.nii, .nii.gz)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes.headers.stored import Stored, damaged, finite_numbers

BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 2304: 4}
FLOATS = {16: "f4", 64: "f8"}
LENGTH = 348


def read_nifti(path: Path) -> Stored:
    """Read where a NIfTI-1 file keeps its voxels; a `UserError` says which field is wrong."""
    packed, header = _start(path)
    if packed and path.suffix == ".nii":
        raise UserError(f"{path}: is compressed; rename it to end in .nii.gz")
    order = _byte_order(header)
    if len(header) < LENGTH or order is None or header[344:347] != b"n+1":
        raise UserError(f"{path}: not a NIfTI-1 file with header and voxels in one; save it as one, or copy it again")
    dims, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    if not 2 <= dims <= 7 or min(sizes[:dims]) < 1:
        raise damaged(path, f"dim {(dims, *sizes)} in the header is not a size")
    spacing = struct.unpack_from(f"{order}3f", header, 80)[:dims]
    if min(finite_numbers(path, "pixdim", spacing, len(spacing))) <= 0:
        raise damaged(path, f"pixdim {spacing} in the header is not a positive spacing")
    finite_numbers(path, "qform and sform", struct.unpack_from(f"{order}18f", header, 256), 18)
    (kind,) = struct.unpack_from(f"{order}h", header, 70)
    if kind not in BYTES:
        raise UserError(f"{path}: NIfTI datatype {kind} cannot be read; convert it to a real number type")
    start = finite_numbers(path, "vox_offset", struct.unpack_from(f"{order}f", header, 108), 1)[0]
    offset, needed = max(int(start), LENGTH), math.prod(sizes[:dims]) * BYTES[kind]
    length = path.stat().st_size
    if packed:
        return Stored(path, 0, length, offset + needed, "gzip")
    return Stored(path, offset, length - offset, needed)


def unchanged_floats(path: Path, count: int) -> np.ndarray | None:
    """Return the first `count` voxels of a float NIfTI file as they are stored; None if it holds integers.

    ITK reads NaN and inf as 0. Here they can be looked up (an inf with the sign that the file's scale gives it).
    """
    packed, header = _start(path)
    order = _byte_order(header)
    kind, offset, slope = (
        struct.unpack_from(f"{order}{form}", header, at)[0] for form, at in (("h", 70), ("f", 108), ("f", 112))
    )
    if kind not in FLOATS:
        return None
    with gzip.open(path) if packed else path.open("rb") as file:
        file.seek(max(int(offset), LENGTH))
        dtype = np.dtype(f"{order}{FLOATS[kind]}")
        values = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return -values if slope < 0 else values


def _byte_order(header: bytes) -> str | None:
    return next((order for order in "<>" if header[:4] == struct.pack(f"{order}i", LENGTH)), None)


def _start(path: Path) -> tuple[bool, bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        with path.open("rb") as file:
            return False, file.read(LENGTH)
    try:
        with gzip.open(path) as file:
            return True, file.read(LENGTH)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"compressed voxels are corrupt ({error})") from error
