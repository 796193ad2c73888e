"""How much of the brain is lesion: the share that folds, checks and summaries go by, and its strata."""

import math
from typing import Any, Literal, get_args

import numpy as np

from multifocal.cohorts.case import Case, Cohort, LabelKind
from multifocal.cohorts.label_values import NAMED, allowed_values, check_label
from multifocal.cohorts.labels import Labels
from multifocal.errors import UserError
from multifocal.limits import at_least, at_most
from multifocal.metrics import burden

Stratum = Literal["no lesion", "<1 %", "1-5 %", ">5 %"]
STRATA: tuple[Stratum, ...] = get_args(Stratum)
_ONE = Labels()


def brain_mask(image: np.ndarray) -> np.ndarray:
    """Return where a skull-stripped image holds brain: finite and not 0.

    Take it from a cohort's first map: in BONBID-HIE the ADC; 0 is a legal value inside Z-ADC.

    Args:
        image: `(*spatial)`, any number type.

    Returns:
        Boolean, of the same shape.

    Example:
        >>> brain_mask(np.array([0.0, -1.0, np.nan, 2.0])).tolist()
        [False, True, False, True]
    """
    return np.isfinite(image) & (image != 0)


def has_brain(kind: LabelKind) -> bool:
    """Return whether a lesion's share is of the brain: images of numbered instances need not be 0 around anything.

    Args:
        kind: of the cohort's labels.

    Returns:
        Whether the brain is where the first map is not 0; if not, the whole image takes its place.

    Example:
        >>> has_brain("binary"), has_brain("instances")
        (True, False)
    """
    return kind == "binary"


def lesion_share(
    case: Case,
    *,
    kind: LabelKind = "binary",
    labels: Labels = _ONE,
    cure: str = NAMED,
    of_brain: bool | None = None,
) -> float:
    """Return the lesion's share of one case's brain, read from its files; of instances that of the whole image.

    Args:
        case: a case with a label; its first map is 0 outside the brain.
        kind: what its label is taken for, a "binary" mask or "instances" that are numbered.
        labels: what the values of a mask mean: lesion is every class, and what is ignored is in neither number.
        cure: what to do about a label that is none.
        of_brain: whether the share is of the brain; None for the kind's rule.

    Returns:
        Lesion voxels over brain voxels, or all voxels, see `multifocal.metrics.burden`.

    Raises:
        UserError: the case has no label, or one with values that nobody named; its brain is empty; label and map differ
            in size; or a file cannot be read.

    Example:
        >>> import tempfile
        >>> from multifocal.cohorts import open_cohort
        >>> from multifocal.cohorts.phantom import write_phantom
        >>> folder = tempfile.mkdtemp()
        >>> write_phantom(folder, cases=1, seed=0)
        >>> round(lesion_share(open_cohort(folder).cases[0]), 4)
        0.002
    """
    if case.label is None:
        raise UserError(f"case {case.name}: no label, so its lesion share is unknown; add the label")
    first = next(iter(case.images.values()))
    lesion = case.label.read().array
    check_label(case, lesion, allowed=allowed_values(kind, labels), cure=cure)
    if not (has_brain(kind) if of_brain is None else of_brain):
        return burden(*counted(lesion, np.ones(lesion.shape, bool), labels=labels))
    brain = brain_mask(first.read().array)
    if not brain.any():
        raise UserError(f"case {case.name}: {first.path}: every voxel is 0; replace the image")
    if brain.shape != lesion.shape:
        raise UserError(
            f"case {case.name}: the label has {lesion.shape} voxels and {first.path} {brain.shape}; "
            "`multifocal data check` shows every such case"
        )
    return burden(*counted(lesion, brain, labels=labels))


def lesion_shares(cohort: Cohort, *, kind: LabelKind | None = None, cure: str = NAMED) -> dict[str, float]:
    """Return the lesion's share of the brain for every case of a cohort; of the whole image in one of instances.

    Args:
        cohort: cases with labels; its own kind decides of what the share is.
        kind: what the labels are taken for; None for the cohort's own kind.
        cure: what to do about a label that is none.

    Returns:
        The share by the case's name.

    Raises:
        UserError: see `lesion_share`.

    Example:
        >>> from pathlib import Path
        >>> lesion_shares(Cohort("none", Path("."), "manifest", ()))
        {}
    """
    options: dict[str, Any] = {"kind": kind or cohort.label_kind, "labels": cohort.labels, "cure": cure}
    return {case.name: lesion_share(case, of_brain=has_brain(cohort.label_kind), **options) for case in cohort}


def counted(lesion: np.ndarray, brain: np.ndarray, *, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return lesion and brain without the voxels that are ignored.

    Args:
        lesion: label image `(*spatial)`.
        brain: bool, of the same shape.
        labels: what the values mean.

    Returns:
        Booleans of the same shape; the first is where a lesion is, of whatever class.

    Example:
        >>> [part.tolist() for part in counted(np.array([0, 1, 9]), np.ones(3, bool), labels=Labels(ignore=9))]
        [[False, True, False], [True, True, False]]
    """
    if labels.ignore is None:
        return lesion != 0, brain
    judged = lesion != labels.ignore
    return (lesion != 0) & judged, brain & judged


def stratum(share: float) -> Stratum:
    """Return the stratum of a lesion's share of the brain; 1 % and 5 % belong to the middle.

    Args:
        share: a fraction of the brain, so 0.01 is 1 %.

    Returns:
        One of `STRATA`.

    Raises:
        ValueError: the share is negative or not finite.

    Example:
        >>> stratum(0.0), stratum(0.002), stratum(0.03), stratum(0.5)
        ('no lesion', '<1 %', '1-5 %', '>5 %')
    """
    if not math.isfinite(share) or share < 0:
        raise ValueError(f"share is {share}; expected a fraction of the brain, 0 or more")
    if share == 0:
        return "no lesion"
    if not at_least(share, 0.01):
        return "<1 %"
    return "1-5 %" if at_most(share, 0.05) else ">5 %"
