"""Random damage to files, the same for the same seed; and what reading such a file came to, in a process of its own."""

import json
import random
import resource
import sys
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.volumes import read

LARGEST = 4 << 30  # bytes of address space beyond those in use: a header may not make us ask for terabytes
EXTREMES = (b"0", b"-1", b"nan", b"inf", b"1e400", b"9" * 30, b"LIST", b"/dev/zero", b"../x", b"%s", b"\0", b"\xff" * 8)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the content with one to three things wrong; most of them near its beginning, where headers are."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        head = chance.random() < 0.7
        at = chance.randrange(min(400, len(data)) if head else len(data))
        match chance.choice(("bit", "byte", "word", "cut", "drop", "insert", "zero", "swap")):
            case "bit":
                data[at] ^= 1 << chance.randrange(8)
            case "byte":
                data[at] = chance.randrange(256)
            case "word":
                word = chance.choice(EXTREMES)
                data[at : at + len(word)] = word
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + chance.randrange(1, 40)]
            case "insert":
                data[at:at] = chance.randbytes(chance.randrange(1, 40))
            case "zero":
                data[at : at + 16] = bytes(len(data[at : at + 16]))
            case "swap":
                other = chance.randrange(len(data))
                data[at], data[other] = data[other], data[at]
    return bytes(data)


def read_many(source: str, folder: str, count: int, report: str) -> None:
    """Read `count` damaged copies of an image, and write what came of each: the error's text, or what was read.

    Whatever is printed goes to `report`.screen; an error that is not for people ends the process.
    """
    with open(f"{report}.screen", "wb", buffering=0) as screen:  # noqa: PTH123
        for stream in (sys.stdout, sys.stderr):
            import os

            os.dup2(screen.fileno(), stream.fileno())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LARGEST, used + LARGEST))
    content, name = Path(source).read_bytes(), Path(source).name
    whole = read(source)
    beside = [path for path in Path(source).parent.iterdir() if path.name != name]
    found = []
    for seed in range(count):
        path = Path(folder) / str(seed) / name
        path.parent.mkdir()
        for other in beside:
            (path.parent / other.name).write_bytes(other.read_bytes())
        path.write_bytes(damaged(content, random.Random(seed)))
        try:
            volume = read(path)
        except UserError as error:
            found.append({"seed": seed, "error": str(error)})
            continue
        same = volume.geometry == whole.geometry and volume.array.dtype == whole.array.dtype
        same = same and np.array_equal(volume.array, whole.array, equal_nan=True)
        fits = volume.array.shape == volume.geometry.size and bool(np.isfinite(volume.geometry.affine).all())
        found.append({"seed": seed, "same": same, "fits": fits})
    Path(report).write_text(json.dumps(found))
