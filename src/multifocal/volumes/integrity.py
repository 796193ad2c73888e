"""Is a file all there? Asked before SimpleITK reads, for it fills what is missing with zeros or garbage unasked."""

import zlib
from pathlib import Path

from multifocal.volumes.headers import Stored, damaged

DEFLATE_LIMIT = 1032  # deflate's best ratio: 258 bytes out of 2 bits
CHUNK = 1 << 18


def check_length(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if the file is too short for the voxels that the header of `path` promises."""
    if stored.packed == "raw":
        if stored.length < stored.needed:
            raise _short(path, stored, f"{max(stored.length, 0)} bytes")
        return
    if stored.length * DEFLATE_LIMIT < stored.needed:
        raise _short(path, stored, f"{stored.length} compressed bytes, too few for that")


def check_stream(path: Path, stored: Stored) -> None:
    """Raise a `UserError` if compressed voxels end early or were altered (raw voxels pass: nothing guards them)."""
    if stored.packed != "deflate":
        return
    # Inflates to nowhere, for length and checksum alone. A gzip file may have several members, one after the other.
    stream, total = zlib.decompressobj(47), 0
    with stored.path.open("rb") as file:
        file.seek(stored.offset)
        left, data = stored.length, b""
        try:
            while not stream.eof:
                if not data:
                    data = file.read(min(CHUNK, left))
                    left -= len(data)
                    if not data:
                        raise _short(path, stored, f"{total} before the file ends")
                total += len(stream.decompress(data, CHUNK))
                data = stream.unconsumed_tail
                if stream.eof and total < stored.needed:
                    data = stream.unused_data or file.read(min(CHUNK, left))
                    if not data:
                        raise _short(path, stored, f"{total}")
                    stream = zlib.decompressobj(47)
        except zlib.error as error:
            raise damaged(path, f"compressed voxels are corrupt ({error})") from error


def _short(path: Path, stored: Stored, have: str) -> Exception:
    what = "truncated, or its header is wrong"
    return damaged(path, f"{what}: {stored.needed} bytes of voxels are promised, {stored.path.name} holds {have}")
