"""What cases and their masks are called in a BIDS derivative."""

import re
from collections.abc import Iterable
from pathlib import Path

from multifocal.cohorts.case import Case
from multifocal.errors import UserError

DESCRIPTION = "dataset_description.json"
_NAMED = re.compile(r"(?:^|_)sub-([A-Za-z0-9]+)(?:_ses-([A-Za-z0-9]+))?(?:_|$)")
_DIFFUSION = ("adc", "dwi", "fa", "md", "trace", "zadc")  # maps that lie in `dwi`; any other is anatomy


def bids_file(case: Case, what: str = "mask") -> Path:
    """Return the path of what was found in a case, from the folder of the derivative.

    Subject and session are those of a BIDS name; else the subject's letters and digits, and what the case's name has
    beyond the subject's.

    Args:
        case: the case.
        what: the suffix: "mask" or "probseg".

    Returns:
        The path of a NIfTI file.

    Raises:
        UserError: the case's subject has no letter or digit.

    Example:
        >>> from multifocal.cohorts.case import ImageFile
        >>> bids_file(Case("MGHNICU_010-VISIT_01", "MGHNICU_010", {"adc": ImageFile("a.mha")})).name
        'sub-MGHNICU010_ses-VISIT01_space-orig_label-lesion_mask.nii.gz'
    """
    if named := _NAMED.search(case.name):
        subject, session = named[1], named[2] or ""
    else:
        rest = case.name.removeprefix(case.subject) if case.name != case.subject else ""
        subject, session = _label(case.subject), _label(rest)
    if not subject:
        raise UserError(f"case {case.name}: BIDS names hold the letters a to z and digits, and its subject has none")
    folders = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    kind = "dwi" if next(iter(case.images)).lower() in _DIFFUSION else "anat"
    return Path(*folders, kind, f"{'_'.join(folders)}_space-orig_label-lesion_{what}.nii.gz")


def bids_files(folder: str | Path, cases: Iterable[Case], what: str = "mask") -> dict[str, Path]:
    """Return the files of several cases in a BIDS derivative, each its own.

    Args:
        folder: of the derivative.
        cases: the cases.
        what: see `bids_file`.

    Returns:
        By the name of the case.

    Raises:
        UserError: two cases have one name in BIDS.

    Example:
        >>> from multifocal.cohorts.case import ImageFile
        >>> cases = [Case(name, name, {"adc": ImageFile("a.mha")}) for name in ("S_1", "S-1")]
        >>> bids_files("derivatives/multifocal", cases)
        Traceback (most recent call last):
        multifocal.errors.UserError: cases S_1 and S-1: are both sub-S1 in BIDS, of letters and digits alone; ...
    """
    found: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for case in cases:
        file = Path(folder) / bids_file(case, what)
        if file in owners:
            both = f"cases {owners[file]} and {case.name}"
            name = file.name.partition("_space-")[0]
            raise UserError(f"{both}: are both {name} in BIDS, of letters and digits alone; rename one of them")
        owners[file] = case.name
        found[case.name] = file
    return found


def _label(text: str) -> str:
    return "".join(char for char in text if char.isascii() and char.isalnum())
