"""Which prediction belongs to which case, checked before anything is scored."""

from collections.abc import Collection, Mapping
from pathlib import Path

from multifocal.cohorts.bids import DESCRIPTION, bids_files
from multifocal.cohorts.case import Cohort
from multifocal.errors import UserError
from multifocal.volumes import read_geometry, volumes_named

SUFFIX = "_lesion"


def match_files(
    predictions: str | Path, cohort: Cohort, *, allow_missing: bool = False, others: Collection[str] = ()
) -> dict[str, Path | None]:
    """Return the prediction `<case>_lesion.<ext>` of every case of the cohort, in its order; None where allowed.

    Args:
        predictions: the folder; or a BIDS derivative of `multifocal predict --bids`, with its own names of masks.
        cohort: the cases.
        allow_missing: a case may have no prediction.
        others: cases that may have one, too, and are passed over.

    Returns:
        The file of each case by the case's name.

    Raises:
        UserError: no such folder, no case, a case without label, a prediction that is missing, surplus, doubled, or
            on another grid than the label. Everything wrong of one kind is named, case by case.
    """
    folder = Path(predictions)
    if not len(cohort):
        raise UserError(f"cohort {cohort.name}: no cases to score")
    if unlabelled := [case.name for case in cohort if case.label is None]:
        raise UserError(f"cohort {cohort.name}: no label for {', '.join(unlabelled)}; add the labels or leave them out")
    found = (_of_bids(folder, cohort) if (folder / DESCRIPTION).is_file() else {}) or volumes_named(folder, SUFFIX)
    missing = [case.name for case in cohort if case.name not in found]
    surplus = sorted(found.keys() - {case.name for case in cohort} - set(others))
    if len(missing) == len(cohort):
        raise UserError(f"{folder}: no prediction for any case; expected files such as {missing[0]}{SUFFIX}.nii.gz")
    if surplus or (missing and not allow_missing):
        raise UserError(f"{folder}: {_mismatch([] if allow_missing else missing, surplus, cohort)}")
    files = {case.name: found.get(case.name) for case in cohort}
    _check_grids(folder, files, cohort)
    return files


def _of_bids(folder: Path, cohort: Cohort) -> dict[str, Path]:
    """Return the masks of a BIDS derivative by case; those of no case by their own names."""
    known = {file: name for name, file in bids_files(folder, cohort).items()}
    masks = folder.glob("sub-*/**/*_label-lesion_mask.nii.gz")
    return {known.get(file, file.name): file for file in masks}


def _mismatch(missing: list[str], surplus: list[str], cohort: Cohort) -> str:
    parts = []
    if missing:
        parts.append(f"no prediction for {', '.join(missing)} (predict them; --allow-missing scores them as empty)")
    if surplus:
        parts.append(f"predictions of no case of cohort {cohort.name}: {', '.join(surplus)} (remove them)")
    return "; ".join(parts)


def _check_grids(folder: Path, files: Mapping[str, Path | None], cohort: Cohort) -> None:
    wrong = []
    for case in cohort:
        file = files[case.name]
        if file and case.label and (differences := read_geometry(file).differences(case.label.geometry())):
            wrong.append(f"case {case.name}: {file.name}: {', '.join(differences)}")
    if wrong:
        raise UserError(
            f"{folder}: predictions on another grid than the label: {'; '.join(wrong)}; "
            "bring them onto the label's grid (multifocal.volumes.restore does)"
        )
