"""How often lesions are where, measured in the training cases and read for any case.

The common space is the brain's box: a voxel's place along an axis is (x - lower + 1/2) / (upper - lower), from 0 to 1,
whatever the size of the brain, and cells divide that evenly. That is an alignment by translation and scaling alone, and
needs no template.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from multifocal.cohorts import Case
from multifocal.errors import UserError
from multifocal.volumes import bounding_box
from multifocal.weights import read_weights, write_weights

FILE = "lesion_frequency.safetensors"
_KEY = "frequency"


@dataclass(frozen=True, eq=False)
class Frequency:
    """The lesion frequency of some cases, and what each of them has of it.

    Args:
        mean: float32, in each cell the mean over the cases of the share of the cell that is lesion.
        shares: by case: its subject, the cells (flat) that hold lesion, and what share of each is.
    """

    mean: np.ndarray
    shares: Mapping[str, tuple[str, np.ndarray, np.ndarray]]

    @classmethod
    def measured(cls, cases: Iterable[tuple[Case, np.ndarray, np.ndarray]], *, cells: int) -> Self:
        """Measure it.

        Args:
            cases: each with its target, lesion where it is not 0, and the mask of its brain, `(*spatial)`.
            cells: along each axis.

        Returns:
            The frequency.

        Raises:
            UserError: the cases are of one subject, who would see no others; or of 2 and 3 dimensions.
        """
        shares, dimensions = {}, set()
        for case, target, inside in cases:
            share = cell_shares(target != 0, inside, cells=cells).astype(np.float32).ravel()
            held = np.flatnonzero(share)
            shares[case.name] = case.subject, held, share[held]
            dimensions.add(inside.ndim)
        if len({subject for subject, _, _ in shares.values()}) < 2:
            raise UserError(
                "the channel lesion-frequency needs two subjects to train on, each to see the other's lesions; "
                "leave the channel out"
            )
        if len(dimensions) > 1:
            raise UserError("the channel lesion-frequency needs cases of one kind; these are 2D and 3D")
        return cls(_mean(shares.values(), (cells,) * dimensions.pop()), shares)

    def of(self, case: Case) -> np.ndarray:
        """Return the frequency that a case may see.

        Args:
            case: any.

        Returns:
            float32: of one that was measured, the frequency in the cases of all other subjects; else in all.
        """
        if case.name not in self.shares:
            return self.mean
        return _mean([one for one in self.shares.values() if one[0] != case.subject], self.mean.shape)

    def save(self, folder: Path) -> None:
        """Write what prediction needs into a run folder.

        Args:
            folder: the run folder.

        Raises:
            UserError: the file cannot be written.
        """
        write_weights(folder / FILE, {_KEY: torch.from_numpy(self.mean)})


def load_frequency(folder: str | Path, *, cells: int) -> np.ndarray:
    """Return the frequency of a run's training cases.

    Args:
        folder: the run folder.
        cells: along each axis.

    Returns:
        float32, in each cell.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    file = Path(folder) / FILE
    found = read_weights(file).get(_KEY)
    if found is None or found.ndim not in (2, 3) or set(found.shape) != {cells} or found.dtype != torch.float32:
        raise UserError(f"{file}: does not fit the channel lesion-frequency of recipe.yaml; copy the run again")
    return found.numpy()


def cell_shares(target: np.ndarray, inside: np.ndarray, *, cells: int) -> np.ndarray:
    """Return what share of each cell of the brain's box is lesion; voxels between cells are divided exactly.

    Args:
        target: bool `(*spatial)`.
        inside: bool `(*spatial)`, the brain.
        cells: along each axis.

    Returns:
        float64 `(cells, ...)`.

    Example:
        >>> cell_shares(np.array([1, 1, 0], bool), np.ones(3, bool), cells=2).round(3).tolist()
        [1.0, 0.333]
    """
    lower, upper = _box(inside)
    shares = target[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))].astype(np.float64)
    for axis, n in enumerate(shares.shape):
        sides, edges = np.arange(n + 1) / n, np.arange(cells + 1) / cells
        shared = np.minimum(edges[1:, None], sides[1:]) - np.maximum(edges[:-1, None], sides[:-1])
        shares = np.moveaxis(np.tensordot(np.maximum(shared, 0) * cells, shares, (1, axis)), 0, axis)
    return shares


def read_frequency(frequency: np.ndarray, inside: np.ndarray, *, smooth: float) -> np.ndarray:
    """Return a frequency at the voxels of a case, linear between the centres of its cells, and 0 outside the brain.

    Args:
        frequency: in each cell.
        inside: bool `(*spatial)`, the brain.
        smooth: standard deviation, in cells, of a Gaussian that it is smoothed by.

    Returns:
        float32 `(*spatial)`.

    Raises:
        UserError: the case has other dimensions.

    Example:
        >>> read_frequency(np.array([0.0, 1.0], np.float32), np.ones(4, bool), smooth=0).tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    if frequency.ndim != inside.ndim:
        raise UserError(
            f"the channel lesion-frequency was made of {frequency.ndim}D cases, and this one is {inside.ndim}D; "
            "give cases like those of training"
        )
    values = gaussian_filter(frequency.astype(np.float64), smooth, mode="nearest") if smooth else frequency
    lower, upper = _box(inside)
    for axis, n in enumerate(inside.shape):
        cells = frequency.shape[axis]
        places = (np.arange(n) - lower[axis] + 0.5) / (upper[axis] - lower[axis]) * cells - 0.5
        places = np.clip(places, 0, cells - 1)
        weights = np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.where(inside, values, 0).astype(np.float32)


def _mean(shares: Iterable[tuple[str, np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    total, count = np.zeros(int(np.prod(shape))), 0
    for _, held, share in shares:
        total[held] += share
        count += 1
    return (total / count).astype(np.float32).reshape(shape)


def _box(inside: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return bounding_box(inside) or ((0,) * inside.ndim, inside.shape)
