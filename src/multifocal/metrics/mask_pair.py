"""A prediction and its target, with everything that metrics share: one crop, one count, one labelling of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from multifocal.metrics.lesions import LesionScores, score_lesions
from multifocal.metrics.overlap import Overlap, count_voxels
from multifocal.metrics.scoring_options import ScoringOptions
from multifocal.metrics.surface import SurfaceDistances, distances_between
from multifocal.metrics.validation import as_labels, as_mask, as_spacing, check_pair, common_box, without_ignored


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Two masks on one grid, cropped to the box that holds both. What metrics need of them is computed once.

    Attributes:
        prediction: boolean mask or, where the options say so, integer label map, of the box.
        target: the same of the truth.
        spacing: mm per voxel along each axis of the arrays.
        measured_spacing: the one that surfaces are measured with, which a protocol may change.
        offset: where the box begins in the image, in voxels.
        total: voxels of the whole image that are not ignored.
        options: how the pair is scored.

    Example:
        >>> pair = MaskPair.of([[1, 1, 0, 0]], [[0, 1, 1, 1]], spacing=(1.0, 2.0))
        >>> pair.overlap.dice, round(pair.surfaces.masd, 3), pair.lesions.detection.f1, pair.voxel_ml
        (0.4, 0.943, 1.0, 0.002)
    """

    prediction: np.ndarray
    target: np.ndarray
    spacing: tuple[float, ...]
    measured_spacing: tuple[float, ...]
    offset: tuple[int, ...]
    total: int
    options: ScoringOptions

    @classmethod
    def of(
        cls,
        prediction: ArrayLike,
        target: ArrayLike,
        *,
        spacing: Sequence[float],
        options: ScoringOptions | None = None,
        ignore: ArrayLike | int | None = None,
    ) -> "MaskPair":
        """Check two masks and crop them.

        Args:
            prediction: 2D or 3D mask of zeros and ones; a label map where the options say so.
            target: the same of the truth, of the same shape.
            spacing: mm per voxel along each axis of the arrays.
            options: how to score; None takes the defaults.
            ignore: the target's value, above 1, of voxels that are in neither mask and in no volume, component and
                surface, as if the image ended before them; or a mask of them, of the same shape; None for none.

        Returns:
            The pair.

        Raises:
            ValueError: an argument is not valid; the message names it, its value and what is expected.
        """
        options = options or ScoringOptions()
        prediction, target, ignored = without_ignored(prediction, target, ignore)
        maps = (
            (as_labels if options.predicts_label_maps else as_mask)(prediction, name="prediction"),
            (as_labels if options.has_label_maps else as_mask)(target, name="target"),
        )
        check_pair(*maps)
        sides = as_spacing(spacing, ndim=maps[1].ndim)
        measured = options.measured_spacing(sides)
        box = common_box(*maps)
        cropped = [np.ascontiguousarray(side[box]) for side in maps]
        offset = tuple(part.start for part in box)
        total = maps[1].size - (0 if ignored is None else int(np.count_nonzero(ignored)))
        return cls(cropped[0], cropped[1], sides, measured, offset, total, options)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml; a 2D pixel counts as 1 mm thick."""
        return math.prod(self.spacing) / 1000

    @cached_property
    def overlap(self) -> Overlap:
        """Count the voxels that the masks share.

        Returns:
            The counts.
        """
        return count_voxels(*self._masks, total=self.total)

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """Measure how far apart their surfaces are.

        Returns:
            The distances of both surfaces, in mm.
        """
        return distances_between(*self._masks, spacing=self.measured_spacing, convention=self.options.convention)

    @cached_property
    def lesions(self) -> LesionScores:
        """Find their lesions, and match them.

        Returns:
            Both sides lesion by lesion.
        """
        return score_lesions(
            self.prediction, self.target, voxel_ml=self.voxel_ml, offset=self.offset, options=self.options
        )

    @cached_property
    def _masks(self) -> tuple[np.ndarray, np.ndarray]:
        predicted, true = (side if side.dtype == np.bool_ else side > 0 for side in (self.prediction, self.target))
        return predicted, true
