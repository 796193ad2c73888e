"""Is a file all there? Asked before SimpleITK reads, for it fills what is missing with zeros or garbage unasked."""

import zlib
from pathlib import Path

from multifocal.errors import UserError
from multifocal.volumes.headers import Stored, damaged

DEFLATE_LIMIT = 1032  # deflate's best ratio: 258 bytes out of 2 bits
CHUNK = 1 << 18
WINDOW = {"zlib": 47, "gzip": 31}  # MetaImage allows a gzip wrapper too


def check_length(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if the file is too short for the voxels that the header of `path` promises."""
    if stored.length * (1 if stored.packed == "raw" else DEFLATE_LIMIT) < stored.needed:
        have = f"{max(stored.length, 0)} bytes" if stored.packed == "raw" else f"{stored.length} compressed bytes"
        raise _short(path, stored, have)


def check_stream(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if compressed voxels end early or were altered (raw voxels pass: nothing guards them)."""
    if stored.packed in WINDOW:
        try:
            _inflate(path, stored)
        except zlib.error as error:
            raise damaged(path, f"compressed voxels are corrupt ({error})") from error


def _inflate(path: Path, stored: Stored) -> None:
    # To nowhere, for the length and the checksum alone. A gzip file may have several members, one after the other.
    stream, total, left, data = zlib.decompressobj(WINDOW[stored.packed]), 0, stored.length, b""
    with stored.path.open("rb") as file:
        file.seek(stored.offset)
        while not stream.eof:
            if not data:
                data = file.read(min(CHUNK, left))
                left -= len(data)
                if not data:
                    raise _short(path, stored, f"{total} bytes once unpacked")
            total += len(stream.decompress(data, CHUNK))
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            if stream.eof and total < stored.needed:
                if stored.packed == "zlib" or not (data or left):
                    raise _short(path, stored, f"{total} bytes once unpacked")
                stream = zlib.decompressobj(WINDOW[stored.packed])


def _short(path: Path, stored: Stored, have: str) -> UserError:
    what = f"the header promises {stored.needed} bytes of voxels, {stored.path.name} holds {have}"
    return damaged(path, f"truncated, or its header is wrong: {what}")
