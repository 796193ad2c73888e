"""Lesions of one training case in another: what can be taken of a case, and what of it a sample gets.

CarveMix (Zhang et al., MICCAI 2021) takes the voxels whose signed distance to the border of the lesions (negative
inside) is at most l. With the depth m, the greatest distance inside, l is drawn from -m/2 to 0 or from 0 to m, each
half of the time. There all images have one grid. Here brains differ, and the boxes of the two brains are laid over one
another: places are aligned by translation and scaling alone, maps are read linearly, masks and classes at the nearest
voxel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from multifocal.cohorts.labels import lesion_in
from multifocal.distance import border_fields
from multifocal.pipeline.augment.sampling import DrawnPaste, Parameters

Box = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Pasted:
    """Voxels of a sample that come from another case.

    Attributes:
        places: `(ndim, N)`.
        channels: those that are given.
        values: float32 `(channels, N)`.
        labels: the target there, uint8 `(N,)`.

    Example:
        >>> pasted = Pasted(np.array([[1], [0]]), (0,), np.array([[7.0]], np.float32), np.array([2], np.uint8))
        >>> pasted.onto_target(torch.zeros(2, 2, dtype=torch.uint8)).tolist()
        [[0, 0], [2, 0]]
    """

    places: np.ndarray
    channels: tuple[int, ...]
    values: np.ndarray
    labels: np.ndarray

    def onto(self, images: Tensor) -> Tensor:
        """Return images with what is pasted.

        Args:
            images: (C, *size).

        Returns:
            A copy.
        """
        changed = images.clone()
        where = tuple(torch.from_numpy(axis) for axis in self.places)
        for channel, values in zip(self.channels, self.values, strict=True):
            changed[channel][where] = torch.from_numpy(values).to(changed)
        return changed

    def onto_target(self, target: Tensor) -> Tensor:
        """Return a target with what is pasted.

        Args:
            target: (*size).

        Returns:
            A copy.
        """
        changed = target.clone()
        changed[tuple(torch.from_numpy(axis) for axis in self.places)] = torch.from_numpy(self.labels).to(changed)
        return changed

    def within(self, box: Sequence[slice]) -> "Pasted":
        """Return what lies in a box, counted from its corner.

        Args:
            box: a slice (start, stop) an axis.

        Returns:
            The voxels there.
        """
        start = np.array([part.start for part in box])[:, None]
        stop = np.array([part.stop for part in box])[:, None]
        kept = ((self.places >= start) & (self.places < stop)).all(axis=0)
        return Pasted(self.places[:, kept] - start, self.channels, self.values[:, kept], self.labels[kept])

    def in_slice(self, z: int) -> "Pasted":
        """Return what lies in a slice of the last axis.

        Args:
            z: its number.

        Returns:
            The voxels there, with an axis less.
        """
        kept = self.places[-1] == z
        return Pasted(self.places[:-1, kept], self.channels, self.values[:, kept], self.labels[kept])


@dataclass(frozen=True, eq=False)
class Donor:
    """What can be taken of a case, found once and drawn from many times.

    Attributes:
        places: of the voxels in reach, `(ndim, N)`.
        distances: of these to the border of the lesions, in mm, negative in lesions, `(N,)`.
        depth: the greatest distance inside.
        box: of the brain: lower and upper corner.
        around: of each channel the median of the tissue in reach that is no lesion, `(C,)`.
    """

    places: np.ndarray
    distances: np.ndarray
    depth: float
    box: Box
    around: np.ndarray

    @classmethod
    def of(
        cls, images: np.ndarray, target: np.ndarray, inside: np.ndarray, *, box: Box, spacing: Sequence[float]
    ) -> "Donor":
        """Find what can be taken of a case.

        Args:
            images: float32 `(C, *spatial)`.
            target: codes of `multifocal.cohorts.Labels`, uint8 `(*spatial)`; some of it is lesion, and some is not.
            inside: bool `(*spatial)`: the brain.
            box: of the brain.
            spacing: size of a voxel in mm along each axis.

        Returns:
            What is within reach of its lesions, in the brain.
        """
        lesion = lesion_in(np.asarray(target))
        distance = border_fields(torch.from_numpy(lesion[None]), spacing=spacing, power=1.0)[0].numpy()
        depth = float(distance[lesion].max())
        held = (lesion | (distance <= depth)) & inside
        places = np.stack(np.nonzero(held))
        distances = np.where(lesion, -distance, distance)[held]
        tissue = tuple(places[:, distances > 0])
        found = [np.median(channel[tissue]) if tissue[0].size else 0.0 for channel in images]
        return cls(places, distances, depth, box, np.array(found, np.float32))


def paste(
    drawn: DrawnPaste,
    donor: Donor,
    images: np.ndarray,
    target: np.ndarray,
    *,
    onto: np.ndarray,
    inside: np.ndarray,
    box: Box,
    prior: Sequence[int] = (),
    places: Sequence[int] = (),
) -> Pasted:
    """Return what a sample gets of another case.

    Args:
        drawn: how much.
        donor: what can be taken of that case.
        images: its images, float32 `(C, *spatial)`.
        target: its target; whole numbers, which stay as they are.
        onto: the images that are pasted into.
        inside: their brain, beyond which nothing is pasted.
        box: of their brain.
        prior: channels that are binary masks: read at the nearest voxel.
        places: channels that say where a voxel lies: nothing is pasted there.

    Returns:
        The voxels, perhaps none.

    Source:
        Zhang et al., CarveMix, MICCAI 2021.
    """
    channels = tuple(channel for channel in range(len(images)) if channel not in places)
    chosen = donor.distances <= drawn.reach * donor.depth
    if drawn.values == "difference":
        chosen &= donor.distances < 0
    taken = donor.places[:, chosen]
    ndim = len(taken)
    if not taken.size:
        return _nothing(ndim, channels)
    rows, lines, nearest, first, count = [], [], [], [], []
    for axis, voxels in enumerate(taken):
        (start, stop), (own, end) = ((b[0][axis], b[1][axis]) for b in (box, donor.box))
        rows.append(np.arange(start, stop))
        lines.append(own + (rows[-1] - start + 0.5) * (end - own) / (stop - start) - 0.5)
        nearest.append(np.floor(lines[-1] + 0.5).astype(np.intp))
        first.append(np.searchsorted(nearest[-1], voxels))
        count.append(np.searchsorted(nearest[-1], voxels, side="right") - first[-1])
    found = _all_of(first, count)
    where = np.stack([row[index] for row, index in zip(rows, found, strict=True)])
    kept = inside[tuple(where)]
    where, found = where[:, kept], tuple(index[kept] for index in found)
    source = np.stack([line[index] for line, index in zip(lines, found, strict=True)])
    near_by = tuple(near[index] for near, index in zip(nearest, found, strict=True))
    values = np.empty((len(channels), where.shape[1]), np.float32)
    for row, channel in zip(values, channels, strict=True):
        if channel in prior:
            row[:] = images[channel][near_by]
            continue
        map_coordinates(images[channel], source, output=row, order=1, mode="nearest")
        if drawn.values == "difference":
            row += onto[channel][tuple(where)] - donor.around[channel]
    return Pasted(where, channels, values, np.asarray(target[near_by], np.uint8))


def check_pasted(parameters: Parameters, pasted: Pasted | None) -> None:
    """Raise `ValueError` unless what is pasted goes with what was drawn.

    Args:
        parameters: what was drawn.
        pasted: what comes in.

    Raises:
        ValueError: one is there without the other.
    """
    if (parameters.paste is None) != (pasted is None):
        said = "was drawn, but nothing is given" if pasted is None else "was not drawn, but something is given"
        raise ValueError(f"paste {said}; make it of the drawn parameters")


def _nothing(ndim: int, channels: tuple[int, ...]) -> Pasted:
    return Pasted(
        np.empty((ndim, 0), np.intp), channels, np.empty((len(channels), 0), np.float32), np.empty(0, np.uint8)
    )


def _all_of(first: Sequence[np.ndarray], count: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the places of boxes, each of which begins at `first` and has `count` places along each axis."""
    source, found = np.arange(len(first[0])), list[np.ndarray]()
    for begin, length in zip(first, count, strict=True):
        times = length[source]
        ahead = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        source = np.repeat(source, times)
        found = [np.repeat(one, times) for one in found]
        found.append(begin[source] + ahead)
    return tuple(found)
