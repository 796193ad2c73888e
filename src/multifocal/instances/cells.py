"""Voronoi cells: to which component each voxel is nearest."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from multifocal.instances.batches import Instances


def cells(instances: Instances, *, spacing: Sequence[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the Voronoi cells of a batch's components, from one distance transform an image.

    Where two components are equally near, one of them has the voxel. An image without components is one cell.

    Args:
        instances: of any number of images.
        spacing: mm per voxel along each axis; None counts in voxels.

    Returns:
        int32 cells of shape (images, *shape), numbered from 0 through the batch, and for each image its number of
        cells.

    Example:
        >>> from multifocal.instances import label
        >>> cells(label(np.array([[[1, 0, 0, 0, 1]], [[0, 0, 0, 0, 0]]], bool)))[0].tolist()
        [[[0, 0, 0, 1, 1]], [[2, 2, 2, 2, 2]]]
    """
    counts = np.maximum(instances.counts, 1)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    size = int(np.prod(instances.shape))
    ends = np.searchsorted(instances.voxels, np.arange(len(counts) + 1) * size)
    found = np.empty((len(counts), *instances.shape), np.int32)
    for image, count in enumerate(instances.counts):
        if count < 2:
            found[image] = first[image]
            continue
        here = slice(ends[image], ends[image + 1])
        labels = np.zeros(size, np.int32)
        labels[instances.voxels[here] - image * size] = instances.labels[here]
        nearest = ndimage.distance_transform_edt(
            (labels == 0).reshape(instances.shape), sampling=spacing, return_distances=False, return_indices=True
        )
        place = nearest[0]  # as a flat index, in place: several times faster than one array an axis
        for axis, side in enumerate(instances.shape[1:], start=1):
            place *= side
            place += nearest[axis]
        np.add(labels.take(place), first[image] - 1 - instances.offsets[image], out=found[image])
    return found, counts
