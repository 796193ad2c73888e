"""Where the voxels of an image lie in the patient, and an array with its geometry."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index

import numpy as np

from multifocal.volumes.nifti_forms import NiftiForms


@dataclass(frozen=True)
class Geometry:
    """The grid of an image: voxel centre at index i lies at origin + direction · (spacing * i), in mm, LPS (as in ITK).

    Everything is in the array's own axis order: `size[i]` and `spacing[i]` belong to array axis i, and column i of the
    direction matrix (given flat, row by row) is the unit vector along which index i increases.

    Args:
        size: number of voxels along each of 2 or 3 axes.
        spacing: voxel size along each axis, in mm.
        origin: centre of the first voxel, in mm, LPS.
        direction: the direction matrix, row by row: 4 numbers in 2D, 9 in 3D.
        nifti: how the NIfTI file that it was read from says so, which an image on this grid is written back with; None
            for any other. It does not tell two geometries apart.

    Raises:
        ValueError: lengths that do not belong together, a size below 1, spacing that is not positive and finite, an
            origin that is not finite, a direction that is not orthonormal (to 1e-3).

    Example:
        >>> grid = Geometry(size=(4, 5), spacing=(1.0, 2.0), origin=(10.0, 0.0), direction=(1.0, 0.0, 0.0, 1.0))
        >>> grid.ndim, grid.affine[:, 2].tolist()
        (2, [10.0, 0.0, 1.0])
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    nifti: NiftiForms | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(index(n) for n in self.size))
        for name in ("spacing", "origin", "direction"):
            object.__setattr__(self, name, tuple(float(x) for x in getattr(self, name)))
        n = len(self.size)
        if n not in (2, 3) or (len(self.spacing), len(self.origin), len(self.direction)) != (n, n, n * n):
            raise ValueError(
                f"a geometry is 2D or 3D throughout; got size {self.size}, spacing {self.spacing}, "
                f"origin {self.origin}, direction {self.direction}"
            )
        if min(self.size) < 1:
            raise ValueError(f"size {times(self.size)} has an empty axis")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise ValueError(f"spacing {times(self.spacing)} is not positive and finite")
        if not np.isfinite(self.origin).all():
            raise ValueError(f"origin {self.origin} is not finite")
        matrix = self.matrix
        if not np.isfinite(matrix).all() or np.abs(matrix.T @ matrix - np.eye(n)).max() > 1e-3:
            raise ValueError(f"direction {self.direction} is not orthonormal (axes sheared, scaled or parallel)")

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return len(self.size)

    @property
    def matrix(self) -> np.ndarray:
        """Direction as an (n, n) array whose columns are the axes."""
        return np.array(self.direction).reshape(self.ndim, self.ndim)

    @property
    def affine(self) -> np.ndarray:
        """Homogeneous (n+1, n+1) array that takes an index to its physical point."""
        affine = np.eye(self.ndim + 1)
        affine[:-1, :-1] = self.matrix * self.spacing
        affine[:-1, -1] = self.origin
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml; a 2D pixel counts as 1 mm thick."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def axial(self) -> int:
        """The axis that runs from the feet to the head, or most nearly so; 0 in 2D means nothing."""
        return int(np.argmax(np.abs(self.matrix[-1]))) if self.ndim == 3 else 0

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Return where points of the patient's space lie among the voxels.

        Args:
            points: in mm, `(..., dimensions)`.

        Returns:
            In voxels, float64 of that shape; whole numbers are voxel centres.

        Example:
            >>> Geometry((2, 2), (2.0, 1.0), (10.0, 0.0), (1.0, 0.0, 0.0, 1.0)).indices(np.array([12.0, 0.5])).tolist()
            [1.0, 0.5]
        """
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points @ inverse[:-1, :-1].T + inverse[:-1, -1])

    def differences(self, other: "Geometry", *, tolerance: float = 1e-3) -> list[str]:
        """Return what differs from `other`, readable, one entry a field; [] when both are the same grid.

        Spacing and origin may differ by `tolerance` times the spacing, direction cosines by 1e-3.

        Args:
            other: the grid to compare with.
            tolerance: allowed difference of spacing and origin, as a share of the smaller spacing along the axis.

        Returns:
            One text for each field that differs.

        Example:
            >>> plane = Geometry((4, 4), (2.0, 2.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
            >>> plane.differences(Geometry((4, 4), (2.0, 3.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)))
            ['spacing 2×2 instead of 2×3']
        """
        if self.ndim != other.ndim:
            return [f"{self.ndim}D instead of {other.ndim}D"]
        step = np.minimum(self.spacing, other.spacing)
        found = []
        if self.size != other.size:
            found.append(f"size {times(self.size)} instead of {times(other.size)}")
        if (np.abs(np.subtract(self.spacing, other.spacing)) > tolerance * step).any():
            found.append(f"spacing {times(self.spacing)} instead of {times(other.spacing)}")
        # An origin is off by a physical vector; it is measured along the axes, each against its own spacing.
        if (np.abs(other.matrix.T @ np.subtract(self.origin, other.origin)) > tolerance * step).any():
            found.append(f"origin {point(self.origin)} instead of {point(other.origin)}")
        if (np.abs(self.matrix - other.matrix) > 1e-3).any():
            found.append(f"direction {point(self.direction)} instead of {point(other.direction)}")
        return found


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image: real numbers or bools on a grid; `array.shape == geometry.size`, axes in header order.

    Args:
        array: bools, whole numbers or floats, of shape `geometry.size`.
        geometry: the grid.

    Raises:
        ValueError: array and geometry do not fit, or the array does not hold real numbers.

    Example:
        >>> grid = Geometry((2, 3), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> Volume(np.zeros((2, 3), np.uint8), grid).array.dtype
        dtype('uint8')
    """

    array: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.size:
            raise ValueError(f"array of shape {self.array.shape} on a grid of size {self.geometry.size}")
        if self.array.dtype.kind not in "biuf":
            raise ValueError(f"array of {self.array.dtype}; a volume holds real numbers")


def times(values: Sequence[float]) -> str:
    """Write a size or spacing for people, as in 2×2×4.8."""
    return "×".join(f"{value:g}" for value in values)


def point(values: Sequence[float]) -> str:
    """Write a point or vector for people, as in (1.5, 2, -3)."""
    return f"({', '.join(f'{value:g}' for value in values)})"


def resized(geometry: Geometry, size: Sequence[int]) -> Geometry:
    """Return the grid of another size over exactly the same physical extent (outer voxel edges).

    Args:
        geometry: the old grid.
        size: number of voxels along each axis of the new grid.

    Returns:
        The new grid, with the old direction.

    Raises:
        ValueError: the size has another number of axes, or an axis without voxels.

    Example:
        >>> grid = resized(Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)), (2, 8))
        >>> grid.spacing, grid.origin
        ((2.0, 0.5), (0.5, -0.25))
    """
    spacing = np.array(geometry.spacing) * geometry.size / np.array(size)
    return _about_centre(geometry, size, spacing)


def respaced(geometry: Geometry, spacing: Sequence[float]) -> Geometry:
    """Return the smallest grid of exactly this spacing, about the same centre, that covers the same physical extent.

    It may stick out by less than half a voxel on each side; all its voxel centres lie within the old extent.

    Args:
        geometry: the old grid.
        spacing: voxel size along each axis of the new grid, in mm.

    Returns:
        The new grid, with the old direction.

    Raises:
        ValueError: the spacing is not one positive number for each axis.

    Example:
        >>> grid = respaced(Geometry((5, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)), (2.0, 2.0))
        >>> grid.size, grid.origin
        ((3, 2), (0.0, 0.5))
    """
    if len(spacing) != geometry.ndim or not all(s > 0 for s in spacing):
        raise ValueError(f"spacing {times(spacing)} is not {geometry.ndim} positive numbers")
    extent = np.array(geometry.spacing) * geometry.size
    # The slack keeps 40 x 0.1 mm from becoming 21 voxels of 0.2 mm by rounding error.
    size = np.maximum(np.ceil(extent / np.array(spacing) - 1e-4), 1).astype(int)
    return _about_centre(geometry, size.tolist(), spacing)


def _about_centre(geometry: Geometry, size: Sequence[int], spacing: Sequence[float] | np.ndarray) -> Geometry:
    centre = geometry.affine[:-1] @ np.append((np.array(geometry.size) - 1) / 2, 1.0)
    origin = centre - geometry.matrix @ (np.array(spacing) * (np.array(size) - 1) / 2)
    return Geometry(tuple(size), tuple(spacing), tuple(origin), geometry.direction)
