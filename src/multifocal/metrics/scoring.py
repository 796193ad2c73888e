"""One case of a cohort, from its files to its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from multifocal.cohorts.case import Case
from multifocal.cohorts.lesion_burden import brain_mask, stratum
from multifocal.errors import UserError
from multifocal.metrics.bins import volume_bin
from multifocal.metrics.case import score_case
from multifocal.metrics.classes import Classes, class_masks
from multifocal.metrics.lesions import Lesion
from multifocal.metrics.masks import as_labels, as_mask
from multifocal.metrics.rules import Rules
from multifocal.volumes import Geometry, Volume, read

ONE_CLASS = "lesion"  # what the only class of a binary mask is called
Row = dict[str, Any]
Door = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Job:
    """What it takes to score a case, small enough to be sent to another process."""

    case: Case
    prediction: Path | None
    rules: Rules
    classes: Classes | None
    brain: bool  # whether the share of the lesion is of the brain, or of the whole image


def score_job(job: Job) -> tuple[list[Row], list[Row]]:
    """Return the rows of a case, one a class, and those of its lesions; see `multifocal.metrics.Scores`.

    Raises:
        UserError: a file cannot be read, is no such mask as the rules say, or has no brain.
    """
    case = job.case
    if case.label is None:
        raise UserError(f"case {case.name}: no label; add it or leave the case out")
    label = case.label.read()
    target = _opened(label, case, case.label.path, _door(job, is_map=job.rules.has_label_maps))
    if job.prediction is None:
        prediction = {name: np.zeros_like(mask) for name, mask in target.items()}
    else:
        door = _door(job, is_map=job.rules.predicts_label_maps)
        prediction = _opened(read(job.prediction), case, job.prediction, door)
    extent = _brain_voxels(case, label.geometry) if job.brain else label.array.size
    diagonal = float(np.linalg.norm(np.multiply(label.geometry.size, label.geometry.spacing)))
    rows, lesions = [], []
    several = len(target) > 1
    for name in target:
        found = score_case(prediction[name], target[name], spacing=label.geometry.spacing, rules=job.rules)
        share = int(np.count_nonzero(target[name])) / extent
        about = {"stratum": stratum(share), "share_of_brain": share, "diagonal_mm": diagonal}
        rows.append({"case": case.name, **({"label": name} if several else {}), **found.metrics, **about})
        lesions += [_lesion_row(lesion, case.name, name, label.geometry) for lesion in found.lesions]
    return rows, lesions


def _door(job: Job, *, is_map: bool) -> Door:
    if job.classes:
        return partial(class_masks, classes=job.classes, name="mask")
    return lambda array: {ONE_CLASS: (as_labels if is_map else as_mask)(array, name="mask")}


def _opened(volume: Volume, case: Case, path: Path, door: Door) -> dict[str, np.ndarray]:
    try:
        return door(volume.array)
    except ValueError as error:
        raise UserError(
            f"case {case.name}: {path}: {error}; write masks with 0 outside and 1 inside, "
            "or say what the values are: classes (--label NAME=VALUES) or instances (--label-maps both)"
        ) from error


def _lesion_row(lesion: Lesion, case: str, label: str, grid: Geometry) -> Row:
    centre = grid.affine[:-1] @ (*lesion.centre, 1.0)
    x, y, z = (*centre.tolist(), float("nan"))[:3]
    where = {"volume_ml": lesion.volume_ml, "x_mm": x, "y_mm": y, "z_mm": z}
    quality = {"matched": int(lesion.matched), "dice": lesion.dice, "bin": volume_bin(lesion.volume_ml)}
    return {"case": case, "label": label, "kind": lesion.kind, **where, **quality}


def _brain_voxels(case: Case, grid: Geometry) -> int:
    first = next(iter(case.images.values()))
    image = first.read()
    if differences := image.geometry.differences(grid):
        raise UserError(
            f"case {case.name}: {first.path}: {', '.join(differences)} in the label; "
            "`multifocal data check` shows every such case"
        )
    voxels = int(np.count_nonzero(brain_mask(image.array)))
    if voxels == 0:
        raise UserError(f"case {case.name}: {first.path}: every voxel is 0; replace the image")
    return voxels
