"""What data a run saw: a hash of names and contents that does not depend on where the files lie."""

import hashlib
import json
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

from multifocal.cohorts.case import Case, Cohort
from multifocal.errors import UserError
from multifocal.volumes import image_files


def case_fingerprint(case: Case) -> str:
    """Return the SHA-256 (hex) of a case's images and label: map names, components and bytes of the files.

    The case's name is not part of it: equal contents have equal fingerprints.

    Args:
        case: the case.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from multifocal.cohorts import ImageFile
        >>> from multifocal.volumes import Geometry, Volume, write
        >>> file = Path(tempfile.mkdtemp()) / "adc.png"
        >>> write(file, Volume(np.eye(4, dtype=np.uint8), Geometry((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))))
        >>> scan = {"adc": ImageFile(file)}
        >>> case_fingerprint(Case("S1", "S1", scan)) == case_fingerprint(Case("S2", "S2", scan))
        True
    """
    return _fingerprints(case)[0]


def image_fingerprint(case: Case) -> str:
    """Return the SHA-256 (hex) of a case's images alone, with a label or without: map names, components and bytes.

    Args:
        case: the case; its name is not part of it.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from multifocal.cohorts import ImageFile
        >>> from multifocal.volumes import Geometry, Volume, write
        >>> file = Path(tempfile.mkdtemp()) / "adc.png"
        >>> write(file, Volume(np.eye(4, dtype=np.uint8), Geometry((4, 4), (1, 1), (0, 0), (1, 0, 0, 1))))
        >>> scan = {"adc": ImageFile(file)}
        >>> image_fingerprint(Case("S1", "S1", scan)) == image_fingerprint(Case("S2", "S2", scan, ImageFile(file)))
        True
    """
    return _fingerprints(replace(case, label=None))[1]


def fingerprint(cohort: Cohort) -> str:
    """Return the SHA-256 (hex) of a cohort: the names and contents of its cases, in any order, under any root.

    Args:
        cohort: the cohort.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> fingerprint(Cohort("none", Path("."), "manifest", ()))[:8]
        '4f53cda1'
    """
    return fingerprints(cohort)[0]


def fingerprints(cohort: Cohort) -> tuple[str, dict[str, str]]:
    """Return what `fingerprint` returns and each case's `image_fingerprint`, by name; every file is read once.

    Args:
        cohort: the cohort.

    Returns:
        64 hexadecimal digits, and as many by name.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> fingerprints(Cohort("none", Path("."), "manifest", ()))[1]
        {}
    """
    found = {case.name: _fingerprints(case) for case in cohort}
    parts = sorted([name, whole] for name, (whole, _) in found.items())
    return _digest(parts), {name: images for name, (_, images) in found.items()}


def has_fingerprint(cohort: Cohort, recorded: str) -> bool:
    """Return whether a recorded fingerprint is the cohort's, in whichever form of Unicode its names were taken then.

    Args:
        cohort: the cohort, whose names are composed.
        recorded: what `fingerprint` returned, perhaps of names as macOS writes them: decomposed.

    Returns:
        Whether it is.

    Raises:
        UserError: a file cannot be read.

    Example:
        >>> has_fingerprint(Cohort("none", Path("."), "manifest", ()), "0" * 64)
        False
    """
    found = {case.name: case_fingerprint(case) for case in cohort}
    forms = ({unicodedata.normalize(form, name): whole for name, whole in found.items()} for form in ("NFC", "NFD"))
    return any(_digest(sorted([name, whole] for name, whole in names.items())) == recorded for names in forms)


def _fingerprints(case: Case) -> tuple[str, str]:
    """Return a case's fingerprint and that of its images."""
    files = dict(sorted(case.images.items()))
    if case.label:
        files["/label"] = case.label  # no map can have this name
    digests = {path: _file_digest(path) for path in {image.path for image in files.values()}}
    parts = [[name, image.component, digests[image.path]] for name, image in files.items()]
    return _digest(parts), _digest([part for part in parts if part[0] != "/label"])


def _digest(parts: list[list[Any]]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        for file in image_files(path):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot read: {error.strerror}") from error
    return digest.hexdigest()
