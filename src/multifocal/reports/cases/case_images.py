"""One case as its page shows it: images, true lesions and masks on one grid, cut to the brain."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from multifocal.cohorts import Case, Labels
from multifocal.cohorts.case import LabelKind
from multifocal.cohorts.lesion_burden import brain_mask, has_brain
from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.volumes import Geometry, Volume, bounding_box, crop, orient, read, resample

_MASK = Labels()
MARGIN = 2  # voxels around the brain, so that outlines at its edge are seen whole


@dataclass(frozen=True, eq=False)
class CaseImages:
    """A case in LPS order: axis 0 runs to the left, 1 to the back, 2 upwards; a 2D image is one slice.

    Attributes:
        images: the maps by name, (X, Y, Z).
        brain: where the first map holds brain, (X, Y, Z); everywhere in a cohort of instances.
        lesions: the true lesions, int32 (X, Y, Z), 0 is background.
        predictions: the predicted mask or label map by arm, int32 (X, Y, Z); None where the arm has none.
        geometry: the grid of all of them, 2D or 3D.
        spacing: mm per voxel, three numbers.
    """

    images: Mapping[str, np.ndarray]
    brain: np.ndarray
    lesions: np.ndarray
    predictions: Mapping[str, np.ndarray | None]
    geometry: Geometry
    spacing: tuple[float, float, float]

    @cached_property
    def masks(self) -> Mapping[str, np.ndarray | None]:
        """The predicted masks by arm, boolean."""
        return {arm: None if labels is None else labels > 0 for arm, labels in self.predictions.items()}

    @property
    def truth(self) -> np.ndarray:
        """The true mask, boolean."""
        return self.lesions > 0


def read_case_images(
    case: Case,
    masks: Mapping[str, Path | None],
    *,
    label_kind: LabelKind,
    labels: Labels = _MASK,
    label: str = "",
) -> CaseImages:
    """Read a case with the masks of every arm.

    Args:
        case: without a label it shows no true lesions.
        masks: the file of each arm's mask, None where there is none.
        label_kind: of the cohort.
        labels: what the values of masks mean.
        label: the class to show, where there are several.

    Returns:
        The case, cropped to the brain and all masks.

    Raises:
        UserError: a file that cannot be read, or a mask on another grid than the label (the first map without one).
    """
    maps = {name: image.read() for name, image in case.images.items()}
    unknown = next(iter(maps.values())).geometry
    true = Volume(np.zeros(unknown.size, np.uint8), unknown) if case.label is None else case.label.read()
    grid = true.geometry
    number = labels.names.index(label) if label else 0

    def of_class(array: np.ndarray) -> np.ndarray:
        """Return where a mask has the class; what is ignored has none."""
        return array if labels == _MASK else labels.members[labels.encode(array), number].astype(np.int32)

    images = {name: _onto(volume, grid) for name, volume in maps.items()}
    predicted = {arm: None if path is None else of_class(_mask(path, grid, case.name)) for arm, path in masks.items()}
    first = next(iter(images.values())).array
    brain = brain_mask(first) if has_brain(label_kind) else np.ones(grid.size, bool)
    if not brain.any():
        raise UserError(f"case {case.name}: every voxel of its first map is 0; replace the image")
    lesions = true.array if label_kind == "instances" else components(of_class(true.array) > 0)[0]
    shown = brain | (lesions > 0)
    for mask in predicted.values():
        shown = shown if mask is None else shown | (mask > 0)
    box = _box(shown)
    views = {name: _view(volume, box) for name, volume in images.items()}

    def view(array: np.ndarray) -> np.ndarray:
        return _view(Volume(array, grid), box).array.reshape(size)

    geometry = next(iter(views.values())).geometry
    size = (*geometry.size, 1)[:3]
    return CaseImages(
        images={name: volume.array.reshape(size) for name, volume in views.items()},
        brain=view(brain),
        lesions=view(lesions.astype(np.int32)),
        predictions={arm: None if mask is None else view(mask) for arm, mask in predicted.items()},
        geometry=geometry,
        spacing=(*geometry.spacing, 1.0)[:3],  # type: ignore[arg-type]
    )


def _onto(volume: Volume, grid: Geometry) -> Volume:
    return resample(volume, grid, interpolation="linear") if volume.geometry.differences(grid) else volume


def _mask(path: Path, grid: Geometry, case: str) -> np.ndarray:
    volume = read(path)
    if differences := volume.geometry.differences(grid):
        raise UserError(f"case {case}: {path}: {', '.join(differences)} in the label; predict the case again")
    return volume.array.astype(np.int32)


def _box(shown: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    lower, upper = bounding_box(shown) or ((0,) * shown.ndim, shown.shape)
    return (
        tuple(max(start - MARGIN, 0) for start in lower),
        tuple(min(end + MARGIN, size) for end, size in zip(upper, shown.shape, strict=True)),
    )


def _view(volume: Volume, box: tuple[tuple[int, ...], tuple[int, ...]]) -> Volume:
    return orient(crop(volume, lower=box[0], upper=box[1]))
