"""Cases that a system has seen in its training, marked beside the masks that it predicts of them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multifocal.cohorts.case import Case, Cohort
from multifocal.cohorts.fingerprint import image_fingerprint
from multifocal.errors import UserError
from multifocal.files import locked, read_json, write_json

SEEN = "seen.json"
PARTS = ("train", "validation")  # the graver first


@dataclass(frozen=True)
class SeenCase:
    """A case that a system was trained or validated on.

    Attributes:
        name: of the case.
        part: "train" or "validation".
        cohort: the name of its cohort; None where that is not known.
        images: its `image_fingerprint`; None in runs that are older than it.

    Example:
        >>> SeenCase("S1", "train").images is None
        True
    """

    name: str
    part: str
    cohort: str | None = None
    images: str | None = None


@dataclass(frozen=True)
class Seen:
    """The cases that a system knows from training.

    A case is known by the contents of its images, whatever it is called, or by its name in a cohort of the same name:
    there a file may have been saved anew. Where a run says nothing of contents the name has to do.

    Attributes:
        cases: what is known of each.

    Example:
        >>> from multifocal.cohorts.case import ImageFile
        >>> case = Case("S1", "S1", {"adc": ImageFile(Path("adc.mha"))})
        >>> Seen((SeenCase("S1", "train"),)).part(case, cohort="mine")
        'train'
        >>> Seen((SeenCase("S1", "train", cohort="theirs", images="0" * 64),)).part(case, cohort="mine") is None
        True
    """

    cases: tuple[SeenCase, ...] = ()

    @classmethod
    def of_all(cls, systems: "Iterable[Seen]") -> "Seen":
        """Return what several systems have seen between them.

        Args:
            systems: what each has seen.

        Returns:
            All of it.
        """
        return cls(tuple(dict.fromkeys(case for seen in systems for case in seen.cases)))

    @classmethod
    def from_json(cls, value: Any) -> "Seen":
        """Return what `to_json` wrote down, or what runs before there were fingerprints did.

        Args:
            value: a list of cases, or parts by name; whatever else it holds is left out.

        Returns:
            The cases.
        """
        if isinstance(value, Mapping):
            return cls(tuple(SeenCase(name, part) for name, part in value.items() if part in PARTS))
        known = SeenCase.__dataclass_fields__.keys()
        cases = value if isinstance(value, list) else ()
        return cls(tuple(SeenCase(**case) for case in cases if _is_case(case, known)))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the cases as plain values.

        Returns:
            A mapping each.
        """
        return [asdict(case) for case in self.cases]

    def part(self, case: Case, *, cohort: str) -> str | None:
        """Return how a case is known.

        Args:
            case: its images are read where the run says what those of its cases hold.
            cohort: the name of the cohort that it is of.

        Returns:
            "train", "validation", or None where it is new.
        """
        contents = _contents(case) if any(known.images for known in self.cases) else None
        parts = [
            known.part
            for known in self.cases
            if (known.images is not None and known.images == contents)
            or (known.name == case.name and (known.images is None or known.cohort == cohort))
        ]
        return min(parts, key=PARTS.index, default=None)

    def among(self, cohort: Cohort) -> dict[str, str]:
        """Return which cases of a cohort are known.

        Args:
            cohort: the cohort.

        Returns:
            "train" or "validation" by name; new cases are not in it.
        """
        parts = {case.name: self.part(case, cohort=cohort.name) for case in cohort}
        return {name: part for name, part in parts.items() if part is not None}


def read_seen(folder: str | Path) -> dict[str, str]:
    """Return which cases of a folder of masks the system that predicted them has seen.

    Args:
        folder: of predictions.

    Returns:
        "train" or "validation" by case; the others are not in it.

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
        part: "train", "validation", or None where it is new to the system.

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
        systems: "train" or "validation" by case, of each.

    Returns:
        "train" or "validation" by case.

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
        seen: "train" or "validation" by case.
        cases: how many there are in all.

    Returns:
        The line.

    Example:
        >>> seen_line({"a": "train"}, 3)
        '1 of 3 cases is known from training (1 trained on, 0 validated on): scores there do not tell of new cases'
    """
    train = sum(part == "train" for part in seen.values())
    return (
        f"{len(seen)} of {cases} cases {'is' if len(seen) == 1 else 'are'} known from training ({train} trained on, "
        f"{len(seen) - train} validated on): scores there do not tell of new cases"
    )


def _contents(case: Case) -> str | None:
    try:
        return image_fingerprint(case)
    except UserError:  # which whoever predicts the case will tell
        return None


def _is_case(value: Any, known: Iterable[str]) -> bool:
    return (
        isinstance(value, dict)
        and {"name", "part"} <= value.keys() <= set(known)
        and value["part"] in PARTS
        and all(isinstance(each, str | None) for each in value.values())
    )
