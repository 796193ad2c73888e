"""NRRD (.nrrd)."""

import math
import re
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat
from multifocal.volumes.headers import (
    Stored,
    beside,
    damaged,
    finite_numbers,
    header_lines,
    positive_integers,
    shown,
)

_BYTES = {  # every name the format allows, written together
    1: "signedchar int8 int8_t uchar unsignedchar uint8 uint8_t",
    2: "short shortint signedshort signedshortint int16 int16_t ushort unsignedshort unsignedshortint uint16 uint16_t",
    4: "int signedint int32 int32_t uint unsignedint uint32 uint32_t float",
    8: "longlong longlongint signedlonglong signedlonglongint int64 int64_t"
    " ulonglong unsignedlonglong unsignedlonglongint uint64 uint64_t double",
}
_SPATIAL = ("domain", "space", "time")


class Nrrd(ImageFormat):
    """NRRD: header and voxels in one file, or the voxels in another one beside it."""

    endings = (".nrrd",)
    itk = "NrrdImageIO"

    def read_header(self, path: Path) -> Stored:
        """Read where a NRRD file keeps its voxels; a `UserError` says which field is wrong.

        Args:
            path: of the file.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        fields, offset = _fields(path)
        dims = positive_integers(path, "dimension", fields.get("dimension", ""), 1)[0]
        count = math.prod(positive_integers(path, "sizes", fields.get("sizes", ""), dims))
        kind = "".join(fields.get("type", "").lower().split())
        width = next((n for n, names in _BYTES.items() if kind in names.split()), None)
        if width is None:
            raise damaged(path, f"type {shown(fields.get('type', ''))} is not a number type")
        _check_space(path, fields)
        data, start = (beside(path, fields["datafile"]), 0) if "datafile" in fields else (path, offset)
        available, encoding = data.stat().st_size - start, fields.get("encoding", "").lower()
        if fields.get("lineskip", "0") != "0":
            raise UserError(f"{path}: 'line skip' is not supported; save the image as one .nrrd or .mha file")
        if encoding in ("gzip", "gz"):
            return Stored(data, start, available, count * width, "gzip")
        if encoding == "raw":
            skip = max(int(finite_numbers(path, "byte skip", [fields.get("byteskip", "0")], 1)[0]), 0)
            return Stored(data, start + skip, available - skip, count * width)
        if encoding in ("txt", "text", "ascii"):
            return Stored(data, start, available, 2 * count - 1)  # at least a digit each, and blanks between
        if encoding == "hex":
            return Stored(data, start, available, 2 * count * width)
        raise UserError(f"{path}: encoding {shown(encoding)} cannot be read; save the file with raw or gzip encoding")


FORMATS.register("nrrd", Nrrd())


def _fields(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    for line, offset in header_lines(path):
        if not fields and not line.startswith("NRRD"):
            break
        if not line and fields:
            return fields, offset
        key, _, value = line.partition(":")
        if not line.startswith("#") and not value.startswith("="):
            fields[key.strip().lower().replace(" ", "")] = value.strip()
    if "datafile" not in fields:
        raise damaged(path, "not a NRRD file, or its header has no end")
    return fields, 0


def _check_space(path: Path, fields: dict[str, str]) -> None:
    # SimpleITK turns NaN spacing into 1, NaN origins into 0, -2 into 2, and a missing axis into one of its own making.
    if "spacings" in fields:
        values = fields["spacings"].split()
        kinds = fields.get("kinds", "domain " * len(values)).lower().split()
        spatial = [value for value, kind in zip(values, kinds, strict=False) if kind in _SPATIAL]
        if min(finite_numbers(path, "spacings", spatial, len(spatial)), default=1.0) <= 0:
            raise damaged(path, f"spacings {shown(fields['spacings'])} in the header are not all positive")
    for key in ("space origin", "space directions"):
        vectors = re.findall(r"\(([^)]*)\)", fields.get(key.replace(" ", ""), ""))
        for vector in vectors:
            finite_numbers(path, key, vector.split(","), len(vectors[0].split(",")))
        if key == "space directions" and vectors and len(vectors) != len(vectors[0].split(",")):
            raise damaged(path, f"{key} {shown(fields['spacedirections'])} in the header do not span its space")
