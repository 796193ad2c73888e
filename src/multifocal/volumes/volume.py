"""An array with its geometry."""

from dataclasses import dataclass

import numpy as np

from multifocal.volumes.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image: real numbers or bools on a grid; `array.shape == geometry.size`, axes in header order.

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
