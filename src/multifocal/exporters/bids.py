"""Masks and probabilities as a BIDS derivative."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multifocal.cohorts import Case
from multifocal.cohorts.bids import DESCRIPTION, bids_files
from multifocal.errors import UserError
from multifocal.files import write_json
from multifocal.systems import Prediction
from multifocal.volumes import Volume, write

DERIVATIVE = Path("derivatives", "multifocal")
BIDS_VERSION = "1.9.0"


def check_bids(folder: str | Path, cases: Iterable[Case], *, overwrite: bool = False) -> None:
    """Raise `UserError` where a BIDS derivative of these cases could not be written, before anything is computed.

    Args:
        folder: of the derivative.
        cases: the cases.
        overwrite: whether files that exist are to be replaced.

    Raises:
        UserError: two cases have one name in BIDS, or a mask exists already.

    Example:
        >>> check_bids("derivatives/multifocal", [])
    """
    cases = list(cases)
    both = [bids_files(folder, cases, what) for what in ("mask", "probseg")]
    there = [file for files in both for file in files.values() if file.exists()]
    if there and not overwrite:
        raise UserError(f"{there[0]}: exists already; choose another folder, or --overwrite to replace it")


def _sidecar(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".nii.gz") + ".json")


def write_bids(folder: str | Path, case: Case, prediction: Prediction, *, model: str, digest: str) -> Path:
    """Write the mask of a case, its probability where there is one, and what they are, as BIDS has it.

    The derivative is `<folder>/dataset_description.json` and, in the folder of the subject (and session),
    `…_space-orig_label-lesion_mask.nii.gz` and `…_probseg.nii.gz`, each with a JSON file beside it. Nothing in them
    says whose scan it is but the case's name.

    Args:
        folder: of the derivative; `derivatives/multifocal` in the dataset of the scans, say.
        case: the case; its first map says whether it is diffusion (`dwi`) or not (`anat`).
        prediction: of one class of lesions.
        model: the system's name.
        digest: of its weights, see `multifocal.systems.model_digest`.

    Returns:
        The file of the mask.

    Raises:
        UserError: a file cannot be written.

    Source:
        Brain Imaging Data Structure 1.9, derivatives: masks and probabilistic segmentations.

    Example:
        >>> write_bids("derivatives/multifocal", case, prediction, model="default", digest="29…")  # doctest: +SKIP
        PosixPath('derivatives/multifocal/sub-S1/dwi/sub-S1_space-orig_label-lesion_mask.nii.gz')
    """
    home = Path(folder)
    made_by = {"Name": "multifocal", "Version": version("multifocal")}
    if not (home / DESCRIPTION).exists():
        about = {"Name": "Brain lesions found by multifocal (research only)", "BIDSVersion": BIDS_VERSION}
        write_json(home / DESCRIPTION, {**about, "DatasetType": "derivative", "GeneratedBy": [made_by]})
    own: dict[str, Any] = {"SpatialReference": "orig", "GeneratedBy": [{**made_by, "Model": model, "SHA256": digest}]}
    images: dict[str, tuple[Volume, dict[str, Any]]] = {"mask": (prediction.mask, {"Type": "Lesion", **own})}
    if prediction.probability is not None:
        images["probseg"] = (prediction.probability, {"Manual": False, **own})
    for what, (volume, says) in images.items():
        file = bids_files(home, [case], what)[case.name]
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, volume)
        write_json(_sidecar(file), says)
    if prediction.probability is None:  # that of another model, with --overwrite
        stale = bids_files(home, [case], "probseg")[case.name]
        for file in (stale, _sidecar(stale)):
            file.unlink(missing_ok=True)
    return bids_files(home, [case])[case.name]
