"""A case as the second stage of a cascade sees it, and what its places are measured against."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from multifocal.pipeline.channels import sagittal_plane
from multifocal.volumes import Geometry, axis_codes, bounding_box


@dataclass(frozen=True, eq=False)
class Scan:
    """A case as the second stage sees it, cut to the brain.

    Args:
        name: of the case.
        maps: float32 `(*spatial)` by name, in their own units.
        probability: float32 `(*spatial)`, the first stage's.
        inside: bool `(*spatial)`, the brain.
        geometry: of these voxels, in the canonical orientation.
    """

    name: str
    maps: dict[str, np.ndarray]
    probability: np.ndarray
    inside: np.ndarray
    geometry: Geometry

    @cached_property
    def spacing(self) -> np.ndarray:
        """Return the distance of neighbouring voxels in mm, `(dimensions,)`."""
        return np.array(self.geometry.spacing)

    @cached_property
    def depth(self) -> np.ndarray:
        """Return how far each voxel of the brain is from its border in mm; the image's border is one, too."""
        deep = ndimage.distance_transform_edt(np.pad(self.inside, 1), sampling=self.spacing)
        return np.asarray(deep[(slice(1, -1),) * self.inside.ndim])

    @cached_property
    def left_right(self) -> int:
        """Return the axis of left and right."""
        return next(axis for axis, letter in enumerate(axis_codes(self.geometry)) if letter in "LR")

    @cached_property
    def mirror(self) -> int:
        """Return twice the place of the mid-sagittal plane: voxel x of that axis lies opposite to `mirror - x`."""
        return sagittal_plane(self.inside, self.left_right)

    def off_midline(self, places: np.ndarray) -> np.ndarray:
        """Return how far places are from the mid-sagittal plane.

        Args:
            places: in voxels, `(n, dimensions)`.

        Returns:
            In mm, `(n,)`.
        """
        across = self.left_right
        return np.abs(2 * places[:, across] - self.mirror) / 2 * self.spacing[across]

    def in_box(self, places: np.ndarray) -> np.ndarray:
        """Return where places are in the brain's box: from -1 to 1 along each axis.

        Args:
            places: in voxels, `(n, dimensions)`.

        Returns:
            `(n, dimensions)`.
        """
        box: Any = bounding_box(self.inside)  # prepared cases have a brain
        lower, upper = np.array(box)
        return (places + 0.5 - lower) / (upper - lower) * 2 - 1

    def opposite(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the places on the other side of the mid-sagittal plane, and which of them are in the brain.

        Args:
            places: in voxels, `(n, dimensions)`.

        Returns:
            `(n, dimensions)`, moved into the image where they lie beyond it, and bool `(n,)`.
        """
        across, other = self.left_right, places.copy()
        there = self.mirror - places[:, across]
        other[:, across] = np.clip(there, 0, self.inside.shape[across] - 1)
        return other, (there == other[:, across]) & self.inside[tuple(other.T)]
