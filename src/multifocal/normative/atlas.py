"""Mean and standard deviation of ADC a voxel, in a space of their own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import ndimage

from multifocal.cohorts.check import image_complaints
from multifocal.errors import UserError
from multifocal.files import write_json
from multifocal.volumes import Volume, orient, read, write

MEAN, SD, ABOUT = "mean.nii.gz", "sd.nii.gz", "atlas.json"
_LEAST_SHARE = 5.0  # percentile of σ below which none is taken: a small one would make lesions of noise


@dataclass(frozen=True, eq=False)
class Atlas:
    """Mean μ and standard deviation σ of ADC in normal brains.

    Args:
        mean: in 1e-6 mm²/s, 0 outside the brain, `(X, Y, Z)`.
        sd: likewise, on the same grid; above 0 in the brain.

    Raises:
        UserError: they lie on other grids, are no volumes, have no brain, or σ is not above 0 in all of it, or
            larger than μ.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((2, 2, 2), (2.0,) * 3, (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> flat = np.full((2, 2, 2), 100, np.float32)
        >>> float(Atlas(Volume(12 * flat, grid), Volume(flat, grid)).floor)
        100.0
    """

    mean: Volume
    sd: Volume

    def __post_init__(self) -> None:
        if self.mean.geometry.ndim != 3:
            raise UserError("an atlas is a volume, and this one is an image; give those of a brain")
        if different := self.sd.geometry.differences(self.mean.geometry):
            raise UserError(f"the atlas's sd lies on another grid than its mean: {'; '.join(different)}")
        if not np.isfinite(self.mean.array).all() or not np.isfinite(self.sd.array).all():
            raise UserError("the atlas holds NaN or infinite values; write it again")
        if not self.brain.any():
            raise UserError("the atlas's mean is 0 everywhere, so there is no brain; check which file is which")
        if not (self.sd.array[self.brain] > 0).all():
            raise UserError("the atlas's sd is not above 0 where its mean is a brain; check which file is which")
        if np.median(self.sd.array[self.brain]) >= np.median(self.mean.array[self.brain]):
            raise UserError("the atlas's sd is larger than its mean; check which file is which")

    @property
    def brain(self) -> np.ndarray:
        """Return where the brain is, bool `(X, Y, Z)`."""
        return np.asarray(self.mean.array != 0)

    @property
    def floor(self) -> float:
        """Return the 5th percentile of σ in the brain: no smaller one is divided by."""
        return float(np.percentile(self.sd.array[self.brain], _LEAST_SHARE))

    @classmethod
    def load(cls, mean: str | Path, sd: str | Path) -> Self:
        """Read an atlas.

        Args:
            mean: image file of μ, in 1e-6 mm²/s, 0 outside the brain.
            sd: image file of σ.

        Returns:
            The atlas, turned so that its axes are those of the patient (left, posterior, superior).

        Raises:
            UserError: a file cannot be read, the two are no atlas, or the unit is another.
        """
        first, second = read(mean), read(sd)
        try:
            # σ before its check for a unit: exchanged files are told as such
            found = cls(*(orient(Volume(each.array.astype(np.float32), each.geometry)) for each in (first, second)))
        except UserError as error:
            raise UserError(f"{mean}, {sd}: {error}") from error
        for severity, text in image_complaints("adc", first.array):
            if severity == "error":
                raise UserError(f"{mean}: {text}")
        return found

    def save(self, folder: str | Path, about: object) -> None:
        """Write mean.nii.gz, sd.nii.gz and atlas.json.

        Args:
            folder: made where it is missing.
            about: what it is made of; becomes JSON.

        Raises:
            UserError: a file cannot be written.
        """
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        write(home / MEAN, self.mean)
        write(home / SD, self.sd)
        write_json(home / ABOUT, about)


def filled(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return an image whose unknown voxels have the value of the nearest known one.

    Args:
        image: `(*spatial)`.
        known: bool `(*spatial)`, somewhere true.

    Returns:
        The image.

    Example:
        >>> filled(np.array([1.0, 9.0, 3.0, 4.0]), np.array([True, False, False, True])).tolist()
        [1.0, 1.0, 4.0, 4.0]
    """
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return np.asarray(image[tuple(nearest)])
