"""What a file's header says about its voxels, read before any of them are.

SimpleITK takes headers at their word: a size of 0 or of terabytes, a NaN in the spacing (read as 0), a data file
anywhere on the disk, 200 dimensions (a crash). Here the few fields that matter are read in Python, and refused when
they are wrong.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multifocal.errors import UserError

META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
META_NUMBERS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
META_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
NRRD_BYTES = {  # every name the format allows, written together
    1: "signedchar int8 int8_t uchar unsignedchar uint8 uint8_t",
    2: "short shortint signedshort signedshortint int16 int16_t ushort unsignedshort unsignedshortint uint16 uint16_t",
    4: "int signedint int32 int32_t uint unsignedint uint32 uint32_t float",
    8: "longlong longlongint signedlonglong signedlonglongint int64 int64_t"
    " ulonglong unsignedlonglong unsignedlonglongint uint64 uint64_t double",
}
NIFTI_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 2304: 4}
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
LONGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class Stored:
    """Where a file keeps its voxels (`path` from byte `offset` on, `length` bytes) and the bytes they unpack to."""

    path: Path
    offset: int
    length: int
    needed: int
    packed: Literal["raw", "deflate", "png"] = "raw"


def damaged(path: Path, what: str) -> UserError:
    """Return the error for a file that is not what it should be."""
    return UserError(f"{path}: {what}; copy the file again from its source")


def read_meta(path: Path) -> Stored:
    """Read the header of a MetaImage (.mha, .mhd)."""
    fields: dict[str, str] = {}
    offset = 0
    for line in _lines(path):
        offset += len(line)
        text = line.decode("latin-1")
        key, _, value = text.partition("=" if "=" in text else ":")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    else:
        raise damaged(path, "not a MetaImage (no ElementDataFile in its header)")
    dims = _integers(path, "NDims", fields.get("NDims", ""), 1)[0]
    if not 2 <= dims <= 5:
        raise damaged(path, f"NDims is {dims}; images have 2 to 5 axes")
    size = _integers(path, "DimSize", fields.get("DimSize", ""), dims)
    for key in (*META_NUMBERS, *META_MATRICES):
        if key in fields:
            _finite(path, key, fields[key].split(), dims * dims if key in META_MATRICES else dims)
    name = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    width = META_BYTES.get(name.removeprefix("U"))
    if width is None:
        raise damaged(path, f"ElementType '{fields.get('ElementType', '')}' is not known")
    channels = _integers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)[0]
    count = math.prod(size) * channels
    file = fields["ElementDataFile"]
    local = file.upper() == "LOCAL"
    data = path if local else _beside(path, file)
    start = offset if local else 0
    available = data.stat().st_size - start
    if fields.get("CompressedData", "False").upper().startswith("T"):
        # Without the size SimpleITK unpacks garbage.
        length = _integers(path, "CompressedDataSize", fields.get("CompressedDataSize", ""), 1)[0]
        return Stored(data, start, _held(path, data, available, length), count * width, "deflate")
    skip = int(_finite(path, "HeaderSize", [fields.get("HeaderSize", "0")], 1)[0])
    if not fields.get("BinaryData", "False").upper().startswith("T"):
        return Stored(data, start, available, 2 * count - 1)
    return Stored(data, start + max(skip, 0), available - max(skip, 0), count * width)


def read_nrrd(path: Path) -> Stored:
    """Read the header of a NRRD file (.nrrd)."""
    fields: dict[str, str] = {}
    offset = 0
    for line in _lines(path):
        if not offset and not line.startswith(b"NRRD"):
            break
        offset += len(line)
        if not line.strip():
            break
        key, colon, value = line.decode("latin-1").partition(":")
        if not line.startswith(b"#") and not value.startswith("="):
            fields[key.strip().lower().replace(" ", "")] = value.strip()
    if not fields:
        raise damaged(path, "not a NRRD file")
    dims = _integers(path, "dimension", fields.get("dimension", ""), 1)[0]
    count = math.prod(_integers(path, "sizes", fields.get("sizes", ""), dims))
    kind = fields.get("type", "")
    width = next((n for n, names in NRRD_BYTES.items() if "".join(kind.lower().split()) in names.split()), None)
    if width is None:
        raise damaged(path, f"type '{kind}' is not a number type")
    file = fields.get("datafile")
    data, start = (path, offset) if file is None else (_beside(path, file), 0)
    available = data.stat().st_size - start
    encoding = fields.get("encoding", "").lower()
    if encoding in ("gzip", "gz"):
        return Stored(data, start, available, count * width, "deflate")
    if encoding == "raw":
        skip = int(_finite(path, "byte skip", [fields.get("byteskip", "0")], 1)[0])
        return Stored(data, start + max(skip, 0), available - max(skip, 0), count * width)
    if encoding in ("txt", "text", "ascii"):
        return Stored(data, start, available, 2 * count - 1)
    if encoding == "hex":
        return Stored(data, start, available, 2 * count * width)
    raise UserError(f"{path}: encoding '{encoding}' cannot be read; save the file with raw or gzip encoding")


def read_nifti(path: Path) -> Stored:
    """Read the header of a NIfTI-1 file (.nii, .nii.gz)."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            header = file.read(348)
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, f"compressed data are corrupt ({error})") from error
    if len(header) < 348 or header[344:347] != b"n+1":
        raise damaged(path, "not a NIfTI-1 file with header and voxels in one")
    order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
    dim = struct.unpack_from(f"{order}8h", header, 40)
    if not 2 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise damaged(path, f"dim {dim} in the header is not a size")
    pixdim = struct.unpack_from(f"{order}8f", header, 76)[1 : min(dim[0], 3) + 1]
    if not all(math.isfinite(p) and p > 0 for p in pixdim):
        raise damaged(path, f"spacing {pixdim} is not positive and finite")
    _finite(path, "qform and sform", struct.unpack_from(f"{order}18f", header, 256), 18)
    width = NIFTI_BYTES.get(struct.unpack_from(f"{order}h", header, 70)[0])
    if width is None:
        raise damaged(
            path, f"datatype {struct.unpack_from(f'{order}h', header, 70)[0]} cannot be read (complex or unknown)"
        )
    offset = max(int(_finite(path, "vox_offset", struct.unpack_from(f"{order}f", header, 108), 1)[0]), 348)
    needed, length = math.prod(dim[1 : dim[0] + 1]) * width, path.stat().st_size
    return (
        Stored(path, 0, length, offset + needed, "deflate") if packed else Stored(path, offset, length - offset, needed)
    )


def read_png(path: Path) -> Stored:
    """Read the header of a PNG file."""
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or header[:8] != b"\x89PNG\r\n\x1a\n" or header[25] not in PNG_CHANNELS:
        raise damaged(path, "not a PNG file")
    width, height = struct.unpack_from(">II", header, 16)
    if not (width and height):
        raise damaged(path, f"size {width}×{height} in the header is not a size")
    return Stored(
        path, 0, path.stat().st_size, (width * header[24] * PNG_CHANNELS[header[25]] + 7) // 8 * height, "png"
    )


def _lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return file.read(LONGEST_HEADER).splitlines(keepends=True)


def _beside(path: Path, name: str) -> Path:
    if name.upper().startswith("LIST") or "%" in name:
        raise UserError(f"{path}: its voxels are spread over a list of files; save the image as one .mha file")
    data = path.parent / name
    if not data.resolve().is_relative_to(path.parent.resolve()):
        raise UserError(f"{path}: its data file '{name}' lies outside the header's folder; move both into one folder")
    if not data.is_file():
        raise UserError(f"{path}: its data file '{name}' is missing; copy it into the header's folder")
    return data


def _held(path: Path, data: Path, available: int, wanted: int) -> int:
    if wanted > available:
        raise damaged(
            path, f"truncated: {data.name} should hold {wanted} bytes of compressed voxels and holds {available}"
        )
    return wanted


def _integers(path: Path, key: str, text: str, count: int) -> list[int]:
    values = text.split()
    if len(values) != count or not all(v.isascii() and v.isdigit() and int(v) for v in values):
        raise damaged(path, f"{key} '{text}' in the header is not {count} positive whole number{'s' * (count > 1)}")
    return [int(v) for v in values]


def _finite(path: Path, key: str, values: Sequence[str | float], count: int) -> list[float]:
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        shown = " ".join(map(str, values))
        raise damaged(path, f"{key} '{shown}' in the header is not {count} finite number{'s' * (count > 1)}")
    return numbers
