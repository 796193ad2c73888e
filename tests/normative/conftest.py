"""Brains whose normal mean and deviation are known, each at its own place."""

import numpy as np
import pytest
from scipy import ndimage

from multifocal.volumes import Geometry, Volume

IDENTITY = tuple(np.eye(3).ravel())
GRID = Geometry((27, 29, 25), (3.0, 3.0, 3.0), (-39.0, -42.0, -36.0), IDENTITY)


def points(grid: Geometry) -> np.ndarray:
    """Return where the voxels lie, `(*spatial, 3)`."""
    return np.moveaxis(np.indices(grid.size), 0, -1) @ grid.affine[:-1, :-1].T + grid.affine[:-1, -1]


def normal(where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return brain, mean and standard deviation of ADC at points."""
    x, y, z = np.moveaxis(where, -1, 0)
    inside = (x / 30) ** 2 + (y / 35) ** 2 + (z / 28) ** 2 < 1
    mean = 1250 + 120 * np.sin(x / 9) * np.cos(y / 11) + 300 * np.exp(-((x - 8) ** 2 + y**2 + z**2) / 120)
    return inside, mean, 100 + 1.5 * y


def made(seed: int, grid: Geometry = GRID, lesion: bool = False) -> tuple[Volume, Volume]:
    """Return ADC and Z-ADC of a case that is shifted and a little larger or smaller."""
    rng = np.random.default_rng(seed)
    where = (points(grid) - rng.uniform(-4, 4, 3)) / rng.uniform(0.95, 1.05)
    inside, mean, sd = normal(where)
    z = 18 * ndimage.gaussian_filter(rng.normal(size=grid.size), 2)
    if lesion:
        z = np.where(np.square(where - (-12.0, 10.0, 0.0)).sum(-1) < 60, -4.0, z)
    adc = np.where(inside, mean + sd * z, 0)
    return Volume(adc.astype(np.float32), grid), Volume(np.where(inside, z, 0).astype(np.float32), grid)


@pytest.fixture(scope="session")
def true_atlas():
    from multifocal.normative import Atlas

    inside, mean, sd = normal(points(GRID))
    return Atlas(*(Volume(np.where(inside, each, 0).astype(np.float32), GRID) for each in (mean, sd)))


@pytest.fixture(scope="session")
def scan():
    """Return what makes ADC and Z-ADC of a case."""
    return made
