"""The header of a NIfTI-1 file (.nii, .nii.gz)."""

import gzip
import math
import struct
import zlib
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.headers.stored import Stored, damaged, finite_numbers

BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 2304: 4}
LENGTH = 348


def read_nifti(path: Path) -> Stored:
    """Read where a NIfTI-1 file keeps its voxels; a `UserError` says which field is wrong."""
    packed, header = _start(path)
    order = next((o for o in "<>" if header[:4] == struct.pack(f"{o}i", LENGTH)), None)
    if len(header) < LENGTH or order is None or header[344:347] != b"n+1":
        raise UserError(f"{path}: not a NIfTI-1 file with header and voxels in one; save it as one, or copy it again")

    def at(offset: int, form: str) -> tuple[float, ...]:
        return struct.unpack_from(f"{order}{form}", header, offset)

    dims, *sizes = (int(n) for n in at(40, "8h"))
    if not 2 <= dims <= 7 or min(sizes[:dims]) < 1:
        raise damaged(path, f"dim {(dims, *sizes)} in the header is not a size")
    spacing = at(80, "3f")[:dims]
    if min(finite_numbers(path, "pixdim", spacing, len(spacing))) <= 0:
        raise damaged(path, f"pixdim {spacing} in the header is not a positive spacing")
    finite_numbers(path, "qform and sform", at(256, "18f"), 18)
    width = BYTES.get(int(at(70, "h")[0]))
    if width is None:
        raise UserError(
            f"{path}: NIfTI datatype {int(at(70, 'h')[0])} cannot be read; convert it to a real number type"
        )
    offset = max(int(finite_numbers(path, "vox_offset", at(108, "f"), 1)[0]), LENGTH)
    needed, length = math.prod(sizes[:dims]) * width, path.stat().st_size
    if packed:
        return Stored(path, 0, length, offset + needed, "gzip")
    return Stored(path, offset, length - offset, needed)


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
