"""What a file's header says about its voxels, read before any of them are, and whether the file is all there.

SimpleITK takes headers at their word: a size of 0 or of terabytes, a NaN in the spacing (read as 0), a data file
anywhere on the disk, 200 dimensions (a crash). It fills what is missing with zeros or garbage unasked. So each format
reads the few fields that matter in Python, and they are refused when they are wrong; here is what all formats share.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multifocal.errors import UserError

_LONGEST_HEADER = 1 << 20
_LONGEST_QUOTE = 80
_DEFLATE_LIMIT = 1032  # deflate's best ratio: 258 bytes out of 2 bits
_CHUNK = 1 << 18
_WINDOW = {"zlib": 47, "gzip": 31}  # MetaImage allows a gzip wrapper too


@dataclass(frozen=True)
class Stored:
    """Where voxels are (`length` bytes of `path` from `offset` on), how packed, and the bytes they unpack to."""

    path: Path
    offset: int
    length: int
    needed: int
    packed: Literal["raw", "zlib", "gzip", "png"] = "raw"


def damaged(path: Path, what: str) -> UserError:
    """Return the error for a file that is not what it should be."""
    return UserError(f"{path}: {what}; copy the file again from its source")


def header_lines(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the lines that a file starts with, stripped, each with the offset of the byte after it."""
    offset = 0
    with path.open("rb") as file:
        while offset < _LONGEST_HEADER and (line := file.readline(_LONGEST_HEADER)):
            offset += len(line)
            yield line.decode("utf-8", "replace").strip(), offset


def beside(path: Path, name: str) -> Path:
    """Return the data file that a header names, if it is one file in the header's own folder."""
    if name.upper().startswith("LIST") or "%" in name or "\0" in name:
        raise UserError(f"{path}: its voxels are not in one plain file; save the image as one .mha file")
    data = path.parent / name
    if not data.resolve().is_relative_to(path.parent.resolve()):
        raise UserError(
            f"{path}: its data file {shown(name)} lies outside the header's folder; move both into one folder"
        )
    if not data.is_file():
        raise UserError(f"{path}: its data file {shown(name)} is missing; copy it into the header's folder")
    return data


def positive_integers(path: Path, key: str, text: str, count: int) -> list[int]:
    """Return `count` whole numbers above 0."""
    values = text.split()
    if len(values) != count or not all(v.isascii() and v.isdigit() and len(v) < 19 and int(v) for v in values):
        raise damaged(path, f"{key} {shown(text)} in the header is not {_so_many(count, 'positive whole number')}")
    return [int(v) for v in values]


def finite_numbers(path: Path, key: str, values: Sequence[str | float], count: int) -> list[float]:
    """Return `count` numbers, none of them NaN or infinite."""
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise damaged(
            path, f"{key} {shown(' '.join(map(str, values)))} in the header is not {_so_many(count, 'finite number')}"
        )
    return numbers


def shown(text: str) -> str:
    """Quote a piece of a header, which may be anything, for an error of one line."""
    return ascii(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}...")


def check_length(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if the file is too short for the voxels that the header of `path` promises."""
    if stored.length * (1 if stored.packed == "raw" else _DEFLATE_LIMIT) < stored.needed:
        have = f"{max(stored.length, 0)} bytes" if stored.packed == "raw" else f"{stored.length} compressed bytes"
        raise _short(path, stored, have)


def check_stream(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if compressed voxels end early or were altered (raw voxels pass: nothing guards them)."""
    if stored.packed in _WINDOW:
        try:
            _inflate(path, stored)
        except zlib.error as error:
            raise damaged(path, f"compressed voxels are corrupt ({error})") from error


def _inflate(path: Path, stored: Stored) -> None:
    # To nowhere, for the length and the checksum alone. A gzip file may have several members, one after the other.
    stream, total, left, data = zlib.decompressobj(_WINDOW[stored.packed]), 0, stored.length, b""
    with stored.path.open("rb") as file:
        file.seek(stored.offset)
        while not stream.eof:
            if not data:
                data = file.read(min(_CHUNK, left))
                left -= len(data)
                if not data:
                    raise _short(path, stored, f"{total} bytes once unpacked")
            total += len(stream.decompress(data, _CHUNK))
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            if stream.eof and total < stored.needed:
                if stored.packed == "zlib" or not (data or left):
                    raise _short(path, stored, f"{total} bytes once unpacked")
                stream = zlib.decompressobj(_WINDOW[stored.packed])


def _short(path: Path, stored: Stored, have: str) -> UserError:
    what = f"the header promises {stored.needed} bytes of voxels, {stored.path.name} holds {have}"
    return damaged(path, f"truncated, or its header is wrong: {what}")


def _so_many(count: int, what: str) -> str:
    return f"a {what}" if count == 1 else f"{count} {what}s"
