"""File names for things that people named."""

import hashlib
import re
from collections.abc import Iterable

LONGEST = 60  # characters; leaves room for endings within what every file system takes


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Return a file name (without ending) for every name: letters, digits, dots, hyphens and underscores only.

    A name that has to change gets a part of its SHA-256, so that no two share a file, also where the file system takes
    upper and lower case for the same.

    Example:
        >>> file_names(["S1-VISIT_01", "a/b"])
        {'S1-VISIT_01': 'S1-VISIT_01', 'a/b': 'a-b-c14cddc0'}
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".")[:LONGEST]
        if plain != name or plain.lower() in taken:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            plain = f"{plain}-{digest}".lstrip("-.")
        while plain.lower() in taken:
            plain += "-"
        taken.add(plain.lower())
        found[name] = plain
    return found
