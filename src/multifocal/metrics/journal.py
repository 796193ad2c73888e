"""What an evaluation has finished, kept in a file so that a second call goes on."""

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import multifocal
from multifocal.errors import UserError
from multifocal.files import write_error
from multifocal.metrics.scoring import Job, Row
from multifocal.volumes import image_files

Found = tuple[list[Row], list[Row]]


def fingerprint(job: Job) -> str:
    """Return a hash that changes with the case's files (by size and time), the settings or the version."""
    first = next(iter(job.case.images.values()))
    files = [job.prediction, job.case.label.path if job.case.label else None, first.path if job.brain else None]
    facts = [multifocal.__version__, repr(job), *([_facts(path) for path in files if path])]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_journal(path: str | Path, keys: Collection[str]) -> tuple[dict[str, Found], int]:
    """Return what a journal has for the fingerprints, and how many others it has; nothing where there is no journal.

    Lines that a killed process left unfinished count as not there.
    """
    wanted, found, others = set(keys), {}, set()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}, 0
    for line in lines:
        try:
            entry = json.loads(line)
            key, rows, lesions = entry["key"], entry["rows"], entry["lesions"]
        except (ValueError, TypeError, KeyError):
            continue
        if key in wanted:
            found[key] = (rows, lesions)
        else:
            others.add(key)
    return found, len(others)


def append_journal(path: str | Path, key: str, found: Found) -> None:
    """Add a line with what came of a case; a `UserError` says why it cannot be written."""
    line = json.dumps({"key": key, "rows": found[0], "lesions": found[1]})
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("a", encoding="utf-8") as file:
            # Begun on a line of its own, whatever a killed process left.
            file.write(f"\n{line}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(Path(path), error) from error


def _facts(path: Path) -> list[Any]:
    """Return size and time of a file, and of the one that its header says holds the voxels."""
    try:
        states = [(file.name, file.stat()) for file in image_files(path)]
    except (OSError, UserError):  # which reading it will explain
        return [path.name, None]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]
