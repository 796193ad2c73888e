"""Cases that a system has seen before it is tested, marked beside the masks that it predicts of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from multifocal.errors import UserError
from multifocal.files import locked, read_json, write_json

SEEN = "seen.json"
PARTS = ("train", "validation", "tuned")  # the graver first


def read_seen(folder: str | Path) -> dict[str, str]:
    """Return which cases of a folder of masks the system that predicted them has seen.

    Args:
        folder: of predictions.

    Returns:
        "train", "validation" or "tuned" by case; the others are not in it.

    Raises:
        UserError: the mark cannot be read.
    """
    file = Path(folder) / SEEN
    if not file.exists():
        return {}
    seen = read_json(file)
    if not isinstance(seen, dict) or not all(part in PARTS for part in seen.values()):
        raise UserError(f"{file}: is not what `multifocal predict` writes; predict again, or remove it")
    return seen


def mark_seen(folder: str | Path, case: str, part: str | None) -> None:
    """Write down in a folder of masks that the system has seen a case, or that it has not.

    Args:
        folder: of predictions; several processes may fill it at once.
        case: the case's name.
        part: "train", "validation", "tuned", or None where it is new to the system.

    Raises:
        UserError: the mark cannot be read or written.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> mark_seen(folder, "a", "train")
        >>> read_seen(folder)
        {'a': 'train'}
    """
    if read_seen(folder).get(case) == part:
        return
    with locked(folder):
        seen = {name: old for name, old in read_seen(folder).items() if name != case}
        seen |= {case: part} if part else {}
        if seen:
            write_json(Path(folder) / SEEN, seen)
        else:
            (Path(folder) / SEEN).unlink(missing_ok=True)


def seen_by_any(systems: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return what several systems have seen between them: trained on by one is trained on.

    Args:
        systems: "train", "validation" or "tuned" by case, of each.

    Returns:
        "train", "validation" or "tuned" by case.

    Example:
        >>> seen_by_any([{"a": "train"}, {"a": "validation", "b": "validation"}])
        {'a': 'train', 'b': 'validation'}
    """
    found: dict[str, str] = {}
    for seen in systems:
        for case, part in seen.items():
            found[case] = min(part, found.get(case, part), key=PARTS.index)
    return found


def seen_line(seen: Mapping[str, str], cases: int) -> str:
    """Return a line that says how many cases are not new to a system.

    Args:
        seen: "train", "validation" or "tuned" by case.
        cases: how many there are in all.

    Returns:
        The line.

    Example:
        >>> seen_line({"a": "train"}, 3)
        '1 of 3 cases is known from training (1 trained on, 0 validated on): scores there do not tell of new cases'
    """
    train, validation, tuned = (sum(part == each for part in seen.values()) for each in PARTS)
    return (
        f"{len(seen)} of {cases} cases {'is' if len(seen) == 1 else 'are'} known from training ({train} trained on, "
        f"{validation} validated on{f', {tuned} tuned on' if tuned else ''}): scores there do not tell of new cases"
    )
