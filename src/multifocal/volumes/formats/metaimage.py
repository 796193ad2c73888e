"""MetaImage (.mha; .mhd with its voxels in a file beside it)."""

import math
import os
import re
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.formats import FORMATS, ImageFormat
from multifocal.volumes.geometry import Volume
from multifocal.volumes.headers import (
    Stored,
    beside,
    damaged,
    finite_numbers,
    header_lines,
    positive_integers,
    shown,
)

_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_VECTORS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_MATRICES = ("TransformMatrix", "Rotation", "Orientation")


class MetaImage(ImageFormat):
    """MetaImage: header and voxels in one file (.mha), or the voxels in a .zraw or .raw beside it (.mhd)."""

    endings = (".mha", ".mhd")
    itk = "MetaImageIO"

    def read_header(self, path: Path) -> Stored:
        """Read where a MetaImage keeps its voxels; a `UserError` says which field is wrong.

        Args:
            path: of the file.

        Returns:
            The place and the number of bytes.

        Raises:
            UserError: a field of the header that cannot be.
        """
        fields, offset = _fields(path)
        dims = positive_integers(path, "NDims", fields.get("NDims", ""), 1)[0]
        if not 2 <= dims <= 5:
            raise damaged(path, f"NDims is {dims}; images have 2 to 5 axes")
        size = positive_integers(path, "DimSize", fields.get("DimSize", ""), dims)
        for key in fields.keys() & {*_VECTORS, *_MATRICES}:
            finite_numbers(path, key, fields[key].split(), dims**2 if key in _MATRICES else dims)
        kind = fields.get("ElementType", "")
        width = _BYTES.get(kind.removeprefix("MET_").removesuffix("_ARRAY").removeprefix("U"))
        if width is None:
            raise damaged(path, f"ElementType {shown(kind)} is not a number type")
        channels = positive_integers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)[0]
        count = math.prod(size) * channels
        packed, binary = _flag(path, "CompressedData", fields, "False"), _flag(path, "BinaryData", fields, "True")
        local = fields["ElementDataFile"].upper() == "LOCAL"
        data, start = (path, offset) if local else (beside(path, fields["ElementDataFile"]), 0)
        available = data.stat().st_size - start
        if packed and not binary:
            raise damaged(path, "the header says that its compressed voxels are text (BinaryData = False)")
        if packed:
            # Without the size, or with a wrong one, SimpleITK returns garbage.
            length = positive_integers(path, "CompressedDataSize", fields.get("CompressedDataSize", ""), 1)[0]
            if length > available:
                raise damaged(
                    path, f"truncated: {length} bytes of compressed voxels are promised, {available} are there"
                )
            return Stored(data, start, length, count * width, "zlib")
        if not binary:
            return Stored(data, start, available, 2 * count - 1)  # at least a digit each, and blanks between
        skip = int(finite_numbers(path, "HeaderSize", [fields.get("HeaderSize", "0")], 1)[0])
        start = skip if skip > 0 else start  # from the start of the file, even where voxels follow the header
        return Stored(data, start, data.stat().st_size - start, count * width)

    def check_writable(self, path: Path, volume: Volume) -> None:
        """Refuse a path that ITK would take for a pattern.

        Args:
            path: where to.
            volume: what.

        Raises:
            UserError: an .mhd with a "%" in its path.
        """
        if path.name.endswith(".mhd") and "%" in str(path):
            raise UserError(f"{path}: an .mhd cannot be written where the path has a '%'; write .mha instead")

    def place_voxels(self, stored: Stored, path: Path) -> None:
        """Move the voxels of an .mhd beside its header.

        Args:
            stored: where the voxels were written.
            path: where the header will be in a moment.
        """
        if path.name.endswith(".mhd"):
            with stored.path.open("r+b") as voxels:
                os.fsync(voxels.fileno())  # `atomic` sees to the header alone
            # Between these steps there is no header, so never one with another image's voxels.
            path.unlink(missing_ok=True)
            stored.path.replace(path.parent / stored.path.name)


FORMATS.register("metaimage", MetaImage())


def _flag(path: Path, key: str, fields: dict[str, str], default: str) -> bool:
    text = fields.get(key, default)
    if text.lower() not in ("true", "false", "1", "0"):
        raise damaged(path, f"{key} {shown(text)} in the header is neither True nor False")
    return text.lower() in ("true", "1")


def _fields(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    text = ""
    for line, offset in header_lines(path):
        # A key goes on until a separator, over line ends too: a broken line takes the next line's key with it.
        text += f"\n{line}"
        key, *value = re.split("[=:]", text, maxsplit=1)
        if value:
            fields[key.strip()] = value[0].strip()
            text = ""
            if key.strip() == "ElementDataFile":
                return fields, offset
    raise damaged(path, "not a MetaImage (no ElementDataFile in its header)")
