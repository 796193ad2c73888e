"""Voronoi cells: to which component each voxel is nearest."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from multifocal.instances.batches import Instances
from multifocal.kernels.squares import whole_squares

if TYPE_CHECKING:
    import torch

# Voxels at a time: their squared distances take 8 bytes each.
_AT_ONCE = 1 << 20


def cells(
    instances: Instances, *, spacing: Sequence[float] | None = None, device: "torch.device | str" = "cpu"
) -> "tuple[torch.Tensor, np.ndarray]":
    """Return the Voronoi cells of a batch's components.

    Distances are compared exactly. Where components are equally near, the largest has the voxel; of equally large ones
    the one whose centre of mass is nearest to the image's centre; of those the first. So cells do not change when the
    image is flipped or its axes are swapped, but for components that are alike in both.

    Args:
        instances: of any number of images.
        spacing: mm per voxel along each axis; None counts in voxels.
        device: where the cells are computed and returned.

    Returns:
        int32 cells of shape (images, *shape), numbered from 0 through the batch, and for each image its number of
        cells. An image without components is one cell.

    Example:
        >>> from multifocal.instances import label
        >>> cells(label(np.array([[[1, 0, 0, 0, 1, 1]], [[0, 0, 0, 0, 0, 0]]], bool)))[0].tolist()
        [[[0, 0, 1, 1, 1, 1]], [[2, 2, 2, 2, 2, 2]]]
    """
    import torch

    counts = np.maximum(instances.counts, 1)
    first = np.cumsum(counts) - counts
    size = int(np.prod(instances.shape))
    # Images with one cell need no distances.
    found = np.full((len(counts), size), -1, np.int32)
    found[instances.counts < 2] = first[instances.counts < 2, None].astype(np.int32)
    cell = (np.arange(instances.total) + (first - instances.offsets)[instances.image]).astype(np.int32)
    found.reshape(-1)[instances.voxels] = cell[instances.labels - 1]
    found = found.reshape(len(counts), *instances.shape)
    best = cell[_order(instances, spacing)]
    several = list(_together(np.flatnonzero(instances.counts > 1), max(1, _AT_ONCE // size)))
    if torch.device(device).type != "cpu":
        return _on_device(torch.from_numpy(found).to(device), best, several, spacing), counts
    from multifocal.kernels.transform import spread_labels

    rank = np.zeros(int(counts.sum()), np.int32)
    rank[best] = np.arange(len(best))
    for images in several:
        spread_labels(found[images], rank=rank, spacing=spacing, threads=torch.get_num_threads())
    return torch.from_numpy(found), counts


def _on_device(
    found: "torch.Tensor", best: np.ndarray, several: list[slice], spacing: Sequence[float] | None
) -> "torch.Tensor":
    """Spread the cells of images with several components in plain torch operations; the first of `best` wins ties."""
    import torch

    from multifocal.kernels.min_plus import spread_ranks

    cell = torch.from_numpy(best).to(found)
    rank = torch.zeros(int(found.max()) + 1, dtype=torch.int32, device=found.device)
    rank[cell.long()] = torch.arange(len(cell), dtype=torch.int32, device=found.device)
    for images in several:
        some = found[images]
        ranks = spread_ranks(torch.where(some < 0, -1, rank[some.clamp_min(0).long()]), spacing=spacing)
        found[images] = cell[ranks.long()]
    return found


def _order(instances: Instances, spacing: Sequence[float] | None) -> np.ndarray:
    """Return the components of each image in the order in which they win ties.

    Numbers are whole until they are squared, and sums are over sorted parts, so that no flip or swap of axes changes
    their last digit.
    """
    parts = []
    for place, side, unit in zip(
        instances.places, instances.shape, whole_squares(instances.shape, spacing), strict=True
    ):
        middle = np.bincount(instances.labels, weights=place, minlength=instances.total + 1)[1:]
        parts.append(unit * (2 * middle - instances.sizes * (side - 1)) ** 2)
    return np.lexsort((np.sort(parts, axis=0).sum(0), -instances.sizes, instances.image))


def _together(images: np.ndarray, most: int) -> Iterator[slice]:
    """Yield runs of consecutive numbers, none longer than `most`."""
    for run in np.split(images, np.flatnonzero(np.diff(images) > 1) + 1):
        for start in range(0, len(run), most):
            part = run[start : start + most]
            yield slice(int(part[0]), int(part[-1]) + 1)
