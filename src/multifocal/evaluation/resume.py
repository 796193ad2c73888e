"""What an evaluation has finished, kept in a file so that a second call goes on."""

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import multifocal
from multifocal.cohorts.case import Case
from multifocal.errors import UserError
from multifocal.evaluation.results import ScoreRow
from multifocal.files import write_error
from multifocal.metrics import METRICS, ScoringOptions
from multifocal.metrics.classes import Classes
from multifocal.volumes import image_files

CaseRows = tuple[list[ScoreRow], list[ScoreRow]]
"""What comes of a case: its rows, one a class, and those of its lesions."""


def fingerprint(
    case: Case,
    prediction: Path | None,
    *,
    options: ScoringOptions,
    classes: Classes | None,
    is_of_brain: bool,
    ignore: int | None = None,
) -> str:
    """Return a hash that changes with the case's files (by size and time), the settings or the version.

    Args:
        case: with its label.
        prediction: the predicted mask; None where there is none.
        options: how the case is scored.
        classes: label values by class name; None for a binary mask.
        is_of_brain: whether the share of the lesion is of the brain, for which the first image is read.
        ignore: the value of what is not scored, or None.

    Returns:
        64 hexadecimal digits.
    """
    # Spelled as journals have it since they were first written: other words would score every case again.
    rules = f"Rules({repr(options).partition('(')[2]}".replace(", strict=False", "")
    settings = (
        f"Job(case={case!r}, prediction={prediction!r}, rules={rules}, classes={classes!r}, brain={is_of_brain!r})"
    )
    first = next(iter(case.images.values()))
    files = [prediction, case.label.path if case.label else None, first.path if is_of_brain else None]
    facts = [multifocal.__version__, settings, *([_facts(path) for path in files if path])]
    facts += [] if ignore is None else [f"ignore={ignore}"]
    facts += [name for name, metric in METRICS.items() if not metric.is_own]  # whose columns the rows have
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_journal(path: str | Path, keys: Collection[str]) -> tuple[dict[str, CaseRows], int]:
    """Return what a journal has for the fingerprints, and how many others it has; nothing where there is no journal.

    Lines that a killed process left unfinished count as not there.

    Args:
        path: of the journal.
        keys: fingerprints of the cases asked for.

    Returns:
        What came of those cases by fingerprint, and the number of other entries.
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


def append_journal(path: str | Path, key: str, found: CaseRows) -> None:
    """Add a line with what came of a case.

    Args:
        path: of the journal, made if need be.
        key: the fingerprint of the case.
        found: its rows, and those of its lesions.

    Raises:
        UserError: it cannot be written.
    """
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
