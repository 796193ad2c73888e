"""The kinds of synthetic cohorts, and how one is written: a folder that is there whole or not at all."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from multifocal.errors import UserError
from multifocal.files import atomic
from multifocal.parallel import parallel_map
from multifocal.registry import Registry

WriteCase = Callable[..., None]
"""Writes case `index` of `cases` (at least 1), drawn with `seed` (at least 0), into a `folder` that others may be
written to at the same time; what else it takes are options of the kind."""

PHANTOMS: Registry[WriteCase] = Registry(
    "kind of synthetic cohort", package="multifocal.cohorts.phantom", group="multifocal.phantoms"
)
"""What writes a synthetic cohort, by the name of its kind."""


def write_phantom(
    out: str | Path,
    *,
    cases: int,
    seed: int,
    kind: str = "hie",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> None:
    """Write a synthetic cohort to the new (or empty) folder `out`: the same seed, the same bytes.

    The folder appears when all cases are written, or not at all.

    Args:
        out: the folder.
        cases: how many.
        seed: what they are drawn with.
        kind: one of `PHANTOMS`: "hie" (neonates, ADC), "nuclei" (microscopy), "wmh" (adults, FLAIR).
        workers: processes that write; the bytes do not depend on it.
        progress: called after each case with the number of cases written and the number of all.
        **options: of the kind: `domain="random"` of "hie".

    Raises:
        UserError: `out` holds something or is a file, `cases` below 1, `seed` negative, an unknown kind or option, or a
            failed write.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "cohort"
        >>> write_phantom(folder, cases=1, seed=0)
        >>> sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.mha"))[0]
        '1ADC_ss/PHANTOM_001-VISIT_01-ADC_ss.mha'
    """
    out, write_case = Path(out), PHANTOMS[kind]
    check_request(cases=cases, seed=seed)
    PHANTOMS.check_options(kind, options, given=("folder", "seed", "index", "cases"))
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose a new folder for the synthetic cohort")
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: the folder is not empty and nothing in it is overwritten; choose a new folder")
    with atomic(out) as folder:
        folder.mkdir()
        write_index = partial(_write_index, write_case, folder=folder, seed=seed, cases=cases, options=options)
        for done, _ in enumerate(parallel_map(write_index, range(cases), workers=workers), start=1):
            if progress is not None:
                progress(done, cases)


def check_request(*, cases: int, seed: int, index: int = 0) -> None:
    """Raise `UserError` for a cohort, or a case of it, that cannot be.

    Args:
        cases: how many the cohort has.
        seed: what they are drawn with.
        index: a case of it, from 0.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.
    """
    if cases < 1:
        raise UserError(f"a synthetic cohort cannot have {cases} cases; ask for at least 1")
    if seed < 0:
        raise UserError(f"a synthetic cohort cannot have the seed {seed}; choose 0 or more")
    if not 0 <= index < cases:
        raise UserError(f"case index {index} is outside a synthetic cohort of {cases}; choose 0 to {cases - 1}")


def _write_index(
    write_case: WriteCase, index: int, *, folder: Path, seed: int, cases: int, options: dict[str, Any]
) -> None:
    write_case(folder, seed=seed, index=index, cases=cases, **options)
