"""Where a file keeps its voxels, and the checks that all headers share."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multifocal.errors import UserError

LONGEST_HEADER = 1 << 20
LONGEST_QUOTE = 80


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
        while offset < LONGEST_HEADER and (line := file.readline(LONGEST_HEADER)):
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
    return ascii(text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}...")


def _so_many(count: int, what: str) -> str:
    return f"a {what}" if count == 1 else f"{count} {what}s"
