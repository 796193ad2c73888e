"""The components of a whole batch, kept as the few voxels that belong to one."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from multifocal.instances.components import Connectivity, components

if TYPE_CHECKING:  # metrics and checks work without loading torch
    import torch


@dataclass(frozen=True, eq=False)
class Instances:
    """The components of `images` masks of one shape, numbered 1, 2, ... through all of them.

    A voxel is named by its index into the flattened stack of masks, so one integer says image and place. Lesions are
    a small part of an image: whatever is summed over them touches these voxels only.

    Args:
        voxels: int64, ascending: the voxels that belong to a component.
        labels: int32: for each of them its component, counted through the batch.
        counts: int64, one number an image: how many components it has.
        shape: of one image.

    Example:
        >>> found = label(np.array([[[1, 1, 0, 0, 1]]], bool))
        >>> found.voxels.tolist(), found.labels.tolist(), found.sizes.tolist(), found.shape
        ([0, 1, 4], [1, 1, 2], [2, 1], (1, 5))
    """

    voxels: np.ndarray
    labels: np.ndarray
    counts: np.ndarray
    shape: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many components there are in the batch."""
        return int(self.counts.sum())

    @cached_property
    def offsets(self) -> np.ndarray:
        """For each image, how many components those before it have."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]) if len(self.counts) else self.counts

    @cached_property
    def image(self) -> np.ndarray:
        """For each component (from 0), the image it is in."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def sizes(self) -> np.ndarray:
        """For each component (from 0), its number of voxels."""
        return np.bincount(self.labels, minlength=self.total + 1)[1:]

    @cached_property
    def places(self) -> tuple[np.ndarray, ...]:
        """For each voxel, its index along each axis of its image."""
        return np.unravel_index(self.voxels % int(np.prod(self.shape)), self.shape)

    @cached_property
    def spans(self) -> np.ndarray:
        """Where in `voxels` each component's voxels begin when sorted by component, one more at the end."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @cached_property
    def order(self) -> np.ndarray:
        """The order that sorts `voxels` by component."""
        return np.argsort(self.labels, kind="stable")

    @cached_property
    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (exclusive) of each component's bounding box: two arrays of shape (N, ndim)."""
        if not self.total:
            return (np.zeros((0, len(self.shape)), np.int64),) * 2
        sorted_places = [place[self.order] for place in self.places]
        lower = np.stack([np.minimum.reduceat(place, self.spans[:-1]) for place in sorted_places], axis=1)
        upper = np.stack([np.maximum.reduceat(place, self.spans[:-1]) for place in sorted_places], axis=1)
        return lower, upper + 1

    @cached_property
    def centres(self) -> np.ndarray:
        """Centre of mass of each component's mask, in voxels: (N, ndim) float64."""
        sums = [np.bincount(self.labels, weights=place, minlength=self.total + 1)[1:] for place in self.places]
        return np.stack(sums, axis=1) / np.maximum(self.sizes, 1)[:, None]

    def dense(self) -> np.ndarray:
        """Return the labels as an image.

        Returns:
            int32 of shape (images, *shape), 0 for background.
        """
        labels = np.zeros(len(self.counts) * int(np.prod(self.shape)), np.int32)
        labels[self.voxels] = self.labels
        return labels.reshape(len(self.counts), *self.shape)


def label(masks: "np.ndarray | torch.Tensor", *, connectivity: Connectivity = "full") -> Instances:
    """Return the connected components of each of a stack of masks.

    Args:
        masks: boolean, (images, *spatial), 2D or 3D images; a tensor on a GPU makes the trip to the CPU.
        connectivity: "full" joins voxels that share a face, an edge or a corner, "face" those that share a face.

    Returns:
        The components, numbered from 1 through the batch.

    Example:
        >>> found = label(np.array([[[1, 0, 1]], [[0, 1, 1]]], bool))
        >>> found.total, found.labels.tolist(), found.counts.tolist()
        (3, [1, 2, 3, 3], [2, 1])
    """
    if not isinstance(masks, np.ndarray):
        masks = masks.cpu().numpy()
    size = int(np.prod(masks.shape[1:]))
    voxels, labels, counts, total = [], [], [], 0
    for number, mask in enumerate(masks):
        inside = np.flatnonzero(mask)
        count = 0
        if inside.size:
            image, count = components(mask, connectivity=connectivity)
            labels.append(image.reshape(-1)[inside] + np.int32(total))
            voxels.append(inside + number * size)
        counts.append(count)
        total += count
    return Instances(_joined(voxels, np.int64), _joined(labels, np.int32), np.array(counts, np.int64), masks.shape[1:])


def given(labels: "np.ndarray | torch.Tensor") -> Instances:
    """Return the instances of a stack of label images that were made beforehand: any ids, 0 for background.

    Ids are numbered anew, image by image, so two images may use the same ones.

    Args:
        labels: integers, (images, *spatial), on any device.

    Returns:
        The components, numbered from 1 through the batch in the order of their ids.

    Raises:
        ValueError: labels are not integers, or negative.

    Example:
        >>> given(np.array([[[7, 0, 7]], [[9, 0, 7]]])).labels.tolist()
        [1, 1, 3, 2]
    """
    array = labels if isinstance(labels, np.ndarray) else labels.detach().cpu().numpy()
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"instances has dtype {array.dtype}; expected integer labels, 0 for background")
    size = int(np.prod(array.shape[1:]))
    voxels, found, counts, total = [], [], [], 0
    for number, image in enumerate(array):
        inside = np.flatnonzero(image)
        values = image.reshape(-1)[inside]
        numbered, count = _numbered(values)
        voxels.append(inside + number * size)
        found.append(numbered + np.int32(total + 1))
        counts.append(count)
        total += count
    return Instances(_joined(voxels, np.int64), _joined(found, np.int32), np.array(counts, np.int64), array.shape[1:])


def _numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return for each value its rank among the distinct ones, and how many those are."""
    if not values.size:
        return np.zeros(0, np.int32), 0
    if values.min() < 0:
        raise ValueError(f"instances holds the label {values.min()}; expected labels from 0")
    if values.max() > 4 * values.size + 1024:  # a table would be longer than a sort
        ids, numbered = np.unique(values, return_inverse=True)
        return numbered.reshape(-1).astype(np.int32), len(ids)
    seen = np.zeros(int(values.max()) + 1, bool)
    seen[values] = True
    rank = np.cumsum(seen, dtype=np.int32) - 1
    return rank[values], int(rank[-1]) + 1


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
