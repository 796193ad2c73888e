"""The synthetic cohort as a folder in the layout of BONBID-HIE."""

from collections.abc import Callable
from pathlib import Path

from multifocal.cohorts.layouts.bonbid import ADC, LABEL, ZADC
from multifocal.cohorts.phantom.case import phantom_case
from multifocal.cohorts.phantom.plan import plan_cohort
from multifocal.errors import UserError
from multifocal.files import atomic
from multifocal.volumes import write


def write_phantom(out: Path, *, cases: int, seed: int, progress: Callable[[int, int], None] | None = None) -> None:
    """Write a synthetic neonatal cohort to the new (or empty) folder `out`: the same seed, the same bytes.

    The folder appears when all cases are written, or not at all. `progress` is called with the number of cases
    written and the number of all after each.

    Raises:
        UserError: `out` holds something or is a file, `cases` below 1, `seed` negative, or a failed write.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "cohort"
        >>> write_phantom(folder, cases=1, seed=0)
        >>> sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.mha"))[0]
        '1ADC_ss/PHANTOM_001-VISIT_01-ADC_ss.mha'
    """
    out = Path(out)
    plan_cohort(seed=seed, cases=cases)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose a new folder for the synthetic cohort")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: the folder is not empty and nothing in it is overwritten; choose a new folder")
    with atomic(out) as folder:
        folder.mkdir()
        for index in range(cases):
            case = phantom_case(seed=seed, index=index, cases=cases)
            write(folder / ADC / f"{case.name}-ADC_ss.mha", case.adc)
            write(folder / ZADC / f"Zmap_{case.name}-ADC_smooth2mm_clipped10.mha", case.zadc)
            write(folder / LABEL / f"{case.name}_lesion.mha", case.label)
            if progress is not None:
                progress(index + 1, cases)
