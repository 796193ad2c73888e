"""What data a run saw: a hash of names and contents that does not depend on where the files lie."""

import hashlib
import json
from pathlib import Path

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
    files = dict(sorted(case.images.items()))
    if case.label:
        files["/label"] = case.label  # no map can have this name
    digests = {path: _file_digest(path) for path in {image.path for image in files.values()}}
    parts = [[name, image.component, digests[image.path]] for name, image in files.items()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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
    parts = sorted([case.name, case_fingerprint(case)] for case in cohort)
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
