"""A folder of predictions against the labels of a cohort."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multifocal.cohorts.case import Case, Cohort, LabelKind
from multifocal.cohorts.shares import brain_mask
from multifocal.cohorts.strata import stratum
from multifocal.distance import Convention
from multifocal.errors import UserError
from multifocal.metrics.case import evaluate_case
from multifocal.metrics.masks import as_mask, as_tolerance
from multifocal.metrics.pairs import pair_predictions
from multifocal.metrics.processes import spread
from multifocal.volumes import Volume, read


@dataclass(frozen=True)
class _Job:
    case: Case
    label_kind: LabelKind
    prediction: Path | None
    tolerance: float
    convention: Convention


def evaluate_cohort(
    predictions: str | Path,
    cohort: Cohort,
    *,
    allow_missing: bool = False,
    workers: int = 1,
    tolerance: float = 2.0,
    convention: Convention = "surfel",
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Score the predictions `<case>_lesion.<ext>` in a folder, in the native space of each case.

    The brain is where the cohort's first map is not 0; in a cohort of instance labels the whole image takes its place.

    Args:
        predictions: the folder; other files in it are passed over.
        cohort: labelled cases.
        allow_missing: score a case without prediction as an empty mask.
        workers: processes, each with one thread and one case at a time in memory. More than one needs the caller's
            module to be importable (a script guards its start with `if __name__ == "__main__"`).
        tolerance: distance in mm up to which surfaces agree for the NSD.
        convention: how surfaces are measured, "surfel" or "voxel".
        progress: called with (cases done, cases in all) after each case.

    Returns:
        One row a case, in the cohort's order: `case`, the metrics of `evaluate_case`, `stratum`, `share_of_brain` (of
        the true lesion) and `diagonal_mm` (of the image).

    Raises:
        UserError: see `multifocal.metrics.pairs.pair_predictions`; or a file that cannot be read or is no mask.
        ValueError: an option is not valid.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected 1 or more")
    tolerance = as_tolerance(tolerance)
    pairs = pair_predictions(predictions, cohort, allow_missing=allow_missing)
    jobs = [_Job(case, cohort.label_kind, pairs[case.name], tolerance, convention) for case in cohort]
    rows = []
    with closing(spread(_score, jobs, workers=min(workers, len(jobs)))) as scores:
        for row in scores:
            rows.append(row)
            if progress:
                progress(len(rows), len(jobs))
    return rows


def _score(job: _Job) -> dict[str, Any]:
    case = job.case
    if case.label is None:
        raise UserError(f"case {case.name}: no label; add it or leave the case out")
    label = case.label.read()
    target = label.array > 0 if job.label_kind == "instances" else _mask(label, case, case.label.path)
    prediction = np.zeros_like(target) if job.prediction is None else _mask(read(job.prediction), case, job.prediction)
    spacing = label.geometry.spacing
    scores = evaluate_case(prediction, target, spacing=spacing, tolerance=job.tolerance, convention=job.convention)
    share = int(np.count_nonzero(target)) / _extent(case, label, job.label_kind)
    diagonal = float(np.linalg.norm(np.multiply(label.geometry.size, spacing)))
    return {"case": case.name, **scores, "stratum": stratum(share), "share_of_brain": share, "diagonal_mm": diagonal}


def _mask(volume: Volume, case: Case, path: Path) -> np.ndarray:
    try:
        return as_mask(volume.array, name="mask")
    except ValueError as error:
        raise UserError(f"case {case.name}: {path}: {error}; write masks with 0 outside and 1 inside") from error


def _extent(case: Case, label: Volume, label_kind: LabelKind) -> int:
    """Return the number of voxels that the share of the lesion refers to."""
    if label_kind == "instances":
        return label.array.size
    first = next(iter(case.images.values()))
    image = first.read()
    if differences := image.geometry.differences(label.geometry):
        raise UserError(
            f"case {case.name}: {first.path}: {', '.join(differences)} in the label; "
            "`multifocal data check` shows every such case"
        )
    voxels = int(np.count_nonzero(brain_mask(image.array)))
    if voxels == 0:
        raise UserError(f"case {case.name}: {first.path}: every voxel is 0; replace the image")
    return voxels
