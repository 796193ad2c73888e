"""How much of the brain is lesion, the number that strata and folds go by."""

import numpy as np

from multifocal.cohorts.case import Case, Cohort
from multifocal.errors import UserError


def brain_mask(image: np.ndarray) -> np.ndarray:
    """Return where a skull-stripped image holds brain: finite and not 0 (boolean, same shape).

    Take it from a cohort's first map: in BONBID-HIE the ADC; 0 is a legal value inside Z-ADC.
    """
    return np.isfinite(image) & (image != 0)


def lesion_share(case: Case) -> float:
    """Return lesion voxels / brain voxels of one case (0 to 1; a little above where the label leaves the brain).

    Raises:
        UserError: the case has no label, its brain is empty, or a file cannot be read.
    """
    if case.label is None:
        raise UserError(f"case {case.name}: no label, so its lesion share is unknown; add the label")
    first = next(iter(case.images.values()))
    brain = int(np.count_nonzero(brain_mask(first.read().array)))
    if brain == 0:
        raise UserError(f"case {case.name}: {first.path}: every voxel is 0; replace the image")
    return int(np.count_nonzero(case.label.read().array)) / brain


def lesion_shares(cohort: Cohort) -> dict[str, float]:
    """Return the lesion share of every case by name; raises `UserError` as `lesion_share` does."""
    return {case.name: lesion_share(case) for case in cohort}
