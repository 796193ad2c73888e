"""What values a label may hold: one rule for every command that reads labels, looked at before any work is done."""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from multifocal.cohorts.case import Case, Cohort, LabelKind
from multifocal.cohorts.labels import Labels
from multifocal.errors import UserError

MASK = (0, 1)
CURE = "write masks with 0 outside and 1 inside"
_NAME = "name the values: labels.classes and labels.ignore in a recipe, --label and --ignore elsewhere"
NAMED = f"{CURE}, or {_NAME}"
_ONE = Labels()
_LISTED = 5
_THREADS = 8


def allowed_values(kind: LabelKind, labels: Labels = _ONE) -> Sequence[int] | None:
    """Return what a label of a kind may hold.

    Args:
        kind: "binary" masks, or "instances" that are numbered.
        labels: what the values of a mask mean.

    Returns:
        The values; None for any whole number from 0.

    Example:
        >>> allowed_values("binary"), allowed_values("instances")
        ((0, 1), None)
    """
    return labels.allowed if kind == "binary" else None


def with_labels(cohort: Cohort, labels: Labels) -> Cohort:
    """Return a cohort whose labels mean what a recipe says they do.

    Args:
        cohort: the cases.
        labels: the recipe's.

    Returns:
        The same cases.

    Raises:
        UserError: the recipe names no classes, and the cohort has several, or other values than 0 and 1; or the recipe
            names classes, and the labels are of instances.

    Example:
        >>> from pathlib import Path
        >>> with_labels(Cohort("none", Path("."), "manifest", ()), Labels(ignore=255)).labels.allowed
        (0, 1, 255)
    """
    if labels.border is not None and cohort.label_kind != "instances":
        raise UserError(f"cohort {cohort.name}: its labels are masks, not numbered instances; leave labels.border out")
    if cohort.label_kind == "instances":
        if labels.classes:
            raise UserError(
                f"cohort {cohort.name}: its labels number instances, and are of one class; leave labels.classes out"
            )
        return replace(cohort, labels=labels)
    if labels == _ONE != cohort.labels:
        said = cohort.labels.model_dump(mode="json", exclude_defaults=True)
        raise UserError(
            f"cohort {cohort.name}: its labels are not masks of 0 and 1; say in the recipe what they are: "
            f"labels: {json.dumps(said)}"
        )
    return replace(cohort, labels=labels)


def is_strange(array: np.ndarray, *, allowed: Sequence[int] | None) -> np.ndarray:
    """Mark the voxels whose value nobody named, such as 255 for "ignore" in a mask; NaN is one.

    Args:
        array: `(*spatial)`.
        allowed: the values; None for any whole number from 0.

    Returns:
        Boolean, of the same shape.

    Example:
        >>> is_strange(np.array([0, 1, 2]), allowed=MASK).tolist()
        [False, False, True]
        >>> is_strange(np.array([0, 2, 2.5]), allowed=None).tolist()
        [False, False, True]
    """
    if allowed is not None:
        strange = np.ones(array.shape, bool)
        for value in allowed:
            strange &= array != value
        return strange
    strange = ~(array >= 0)
    return strange | ~(array < 2**31) | (array != np.trunc(array)) if array.dtype.kind == "f" else strange


def check_label(case: Case, array: np.ndarray, *, allowed: Sequence[int] | None, cure: str = CURE) -> None:
    """Raise `UserError` where a case's label holds a value that nobody named.

    Args:
        case: with its label.
        array: the label's voxels.
        allowed: the values; None for any whole number from 0.
        cure: what to do about it.

    Raises:
        UserError: it names the case, the file, the values, where the first one is, and the cure.

    Example:
        >>> from pathlib import Path
        >>> from multifocal.cohorts import ImageFile
        >>> case = Case("a", "a", {"adc": ImageFile(Path("adc.mha"))}, ImageFile(Path("label.mha")))
        >>> check_label(case, np.array([[0, 255, 2]]), allowed=MASK)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        multifocal.errors.UserError: case a: label.mha: mask holds 255 at (0, 1), and 2; expected only 0 and 1; ...
    """
    strange = is_strange(array, allowed=allowed)
    if case.label is None or not strange.any():
        return
    place = tuple(int(i) for i in np.unravel_index(np.argmax(strange), array.shape))
    others = [value for value in np.unique(array[strange]) if value != array[place] and not np.isnan(value)]
    more = "".join(f", and {value:g}" for value in others[:_LISTED]) + (", ..." if len(others) > _LISTED else "")
    raise UserError(
        f"case {case.name}: {case.label.path}: mask holds {array[place]} at {place}{more}; expected "
        f"{_listed(allowed)}; {_NAME if cure == NAMED and allowed != MASK else cure}"
    )


def check_labels(
    cohort: Cohort,
    *,
    names: Iterable[str] | None = None,
    kind: LabelKind | None = None,
    allowed: Sequence[int] | None = None,
    cure: str = NAMED,
) -> None:
    """Read the labels of a cohort, and nothing else; raise `UserError` where one holds a value that nobody named.

    Args:
        cohort: the cases; those without a label are passed over.
        names: of the cases to look at; None for all.
        kind: what the labels are taken for, "binary" or "instances"; None for the cohort's own kind.
        allowed: the values that they may hold; None for those of the kind, or of the cohort's classes.
        cure: what to do about it.

    Raises:
        UserError: see `check_label`; or a label cannot be read.

    Example:
        >>> from pathlib import Path
        >>> check_labels(Cohort("none", Path("."), "manifest", ()))
    """
    expected = allowed_values(kind or cohort.label_kind, cohort.labels) if allowed is None else allowed
    chosen = cohort.cases if names is None else [cohort.case(name) for name in names]

    def check(case: Case) -> None:
        if case.label is not None:
            check_label(case, case.label.read().array, allowed=expected, cure=cure)

    # Threads: inflating a file, most of the work, leaves Python free. The first case in order is the one that is told.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(check, chosen):
            pass


def _listed(allowed: Sequence[int] | None) -> str:
    if allowed is None:
        return "whole numbers from 0"
    return "only 0 and 1" if tuple(allowed) == MASK else f"only {', '.join(map(str, allowed))}"
