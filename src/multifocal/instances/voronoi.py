"""Voronoi cells: to which component each voxel is nearest, with the rule for ties as an argument."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args, overload

import numpy as np

from multifocal.distance.nearest import nearest_places
from multifocal.errors import unknown_name
from multifocal.instances.instances import Instances

if TYPE_CHECKING:  # metrics work without loading torch
    import torch

Ties = Literal["symmetric", "first-voxel"]
Frames = tuple[np.ndarray, np.ndarray]
# Voxels at a time: their squared distances take 8 bytes each.
_AT_ONCE = 1 << 20


@overload
def voronoi_cells(
    instances: Instances,
    *,
    ties: Ties = ...,
    spacing: Sequence[float] | None = ...,
    at: None = None,
    device: "torch.device | str" = ...,
    frames: Frames | None = ...,
) -> "tuple[torch.Tensor, np.ndarray]": ...


@overload
def voronoi_cells(
    instances: Instances,
    *,
    ties: Ties = ...,
    spacing: Sequence[float] | None = ...,
    at: np.ndarray,
    frames: Frames | None = ...,
) -> tuple[np.ndarray, np.ndarray]: ...


def voronoi_cells(
    instances: Instances,
    *,
    ties: Ties = "symmetric",
    spacing: Sequence[float] | None = None,
    at: np.ndarray | None = None,
    device: "torch.device | str" = "cpu",
    frames: Frames | None = None,
) -> "tuple[torch.Tensor | np.ndarray, np.ndarray]":
    """Return the Voronoi cells of a batch's components.

    `cell(x) = argmin over components n of min over y in n of sum_i (spacing_i (x_i - y_i))^2`. Distances are compared
    exactly; with "first-voxel" and a spacing that differs between axes, in double precision.

    Args:
        instances: of any number of images.
        ties: what decides where components are equally near. "symmetric": the largest has the voxel; of equally large
            ones the one whose centre of mass is nearest to the image's centre; of those the first. So cells do not
            change when the image is flipped or its axes are swapped, but for components that are alike in both.
            "first-voxel": the one of the nearest voxel that comes first with the last axis slowest, as in ccmetrics.
        spacing: mm per voxel along each axis; None counts in voxels.
        at: int64 indices into the flattened stack of images: only the cells of these voxels, which with "first-voxel"
            is much faster when they are few. None is every voxel.
        device: where the cells of every voxel are computed and returned.
        frames: of each image the box whose centre "symmetric" goes by: lower and upper corners (exclusive), int64
            (images, axes) each; None is the whole image.

    Returns:
        int32 cells, numbered from 0 through the batch, and for each image its number of cells; an image without
        components is one cell. A tensor of shape (images, *shape) on the device; with `at`, an array of its shape.

    Raises:
        UserError: an unknown rule for ties.

    Source:
        The rule "first-voxel": Jaus et al., "Every component counts", arXiv:2410.18684, in ccmetrics 0.0.3.

    Example:
        >>> from multifocal.instances import label
        >>> found = label(np.array([[[1, 0, 0, 0, 1, 1]], [[0, 0, 0, 0, 0, 0]]], bool))
        >>> voronoi_cells(found)[0].tolist()
        [[[0, 0, 1, 1, 1, 1]], [[2, 2, 2, 2, 2, 2]]]
        >>> voronoi_cells(found, ties="first-voxel", at=np.arange(6))[0].tolist()
        [0, 0, 0, 1, 1, 1]
    """
    if ties not in get_args(Ties):
        raise unknown_name("rule for ties", ties, get_args(Ties))
    counts = np.maximum(instances.counts, 1)
    first = np.cumsum(counts) - counts
    if ties == "symmetric":
        dense = _symmetric_cells(instances, first, spacing=spacing, device=device, frames=frames)
        return (dense if at is None else dense.cpu().numpy().reshape(-1)[at]), counts
    if at is not None:
        return _first_voxel_cells(instances, first, at, spacing=spacing), counts
    import torch

    cells = _first_voxel_cells(instances, first, np.arange(instances.dense().size), spacing=spacing)
    return torch.from_numpy(cells).to(device).view(len(counts), *instances.shape), counts


def _symmetric_cells(
    instances: Instances,
    first: np.ndarray,
    *,
    spacing: Sequence[float] | None,
    device: "torch.device | str",
    frames: Frames | None,
) -> "torch.Tensor":
    """Return the cells of all voxels, numbered in each image from `first`, by one transform of the labels."""
    import torch

    from multifocal.kernels.edt import spread_labels

    size = int(np.prod(instances.shape))
    # Images with one cell need no distances.
    found = np.full((len(first), size), -1, np.int32)
    found[instances.counts < 2] = first[instances.counts < 2, None].astype(np.int32)
    cell = (np.arange(instances.total) + (first - instances.offsets)[instances.image]).astype(np.int32)
    found.reshape(-1)[instances.voxels] = cell[instances.labels - 1]
    found = found.reshape(len(first), *instances.shape)
    best = cell[_order(instances, spacing, frames)]
    several = list(_together(np.flatnonzero(instances.counts > 1), max(1, _AT_ONCE // size)))
    if torch.device(device).type != "cpu":
        return _on_device(torch.from_numpy(found).to(device), best, several, spacing)
    rank = np.zeros(int(np.maximum(instances.counts, 1).sum()), np.int32)
    rank[best] = np.arange(len(best))
    for images in several:
        spread_labels(found[images], rank=rank, spacing=spacing, threads=torch.get_num_threads())
    return torch.from_numpy(found)


def _on_device(
    found: "torch.Tensor", best: np.ndarray, several: list[slice], spacing: Sequence[float] | None
) -> "torch.Tensor":
    """Spread the cells of images with several components in plain torch operations; the first of `best` wins ties."""
    import torch

    from multifocal.kernels.torch_edt import spread_ranks

    cell = torch.from_numpy(best).to(found)
    rank = torch.zeros(int(found.max()) + 1, dtype=torch.int32, device=found.device)
    rank[cell.long()] = torch.arange(len(cell), dtype=torch.int32, device=found.device)
    for images in several:
        some = found[images]
        ranks = spread_ranks(torch.where(some < 0, -1, rank[some.clamp_min(0).long()]), spacing=spacing)
        found[images] = cell[ranks.long()]
    return found


def _order(instances: Instances, spacing: Sequence[float] | None, frames: Frames | None) -> np.ndarray:
    """Return the components of each image in the order in which they win ties.

    Numbers are whole until they are squared, and sums are over sorted parts, so that no flip or swap of axes changes
    their last digit.
    """
    from multifocal.kernels.edt import whole_squares

    lower, upper = frames or (np.zeros((1, 1), np.int64), np.array(instances.shape)[None])
    ends = np.broadcast_to(lower + upper - 1, (len(instances.counts), len(instances.shape)))[instances.image]
    parts = []
    for place, end, unit in zip(instances.places, ends.T, whole_squares(instances.shape, spacing), strict=True):
        middle = np.bincount(instances.labels, weights=place, minlength=instances.total + 1)[1:]
        parts.append(unit * (2 * middle - instances.sizes * end) ** 2)
    return np.lexsort((np.sort(parts, axis=0).sum(0), -instances.sizes, instances.image))


def _together(images: np.ndarray, most: int) -> Iterator[slice]:
    """Yield runs of consecutive numbers, none longer than `most`."""
    for run in np.split(images, np.flatnonzero(np.diff(images) > 1) + 1):
        for start in range(0, len(run), most):
            part = run[start : start + most]
            yield slice(int(part[0]), int(part[-1]) + 1)


def _first_voxel_cells(
    instances: Instances, first: np.ndarray, at: np.ndarray, *, spacing: Sequence[float] | None
) -> np.ndarray:
    """Return the cells of some voxels, numbered in each image from `first`, by a search for each of them."""
    size, images = int(np.prod(instances.shape)), len(instances.counts)
    image = at // size if images > 1 else np.zeros(len(at), np.int64)
    found = first[image].astype(np.int32)
    several = np.flatnonzero(instances.counts > 1)
    if not len(several):
        return found
    labels = instances.dense()
    inside = labels > 0
    edge = _edge(instances, inside)
    for number in several:
        here = slice(None) if images == 1 else np.flatnonzero(image == number)
        flat = at[here] - number * size
        outside = np.flatnonzero(~inside[number].reshape(-1)[flat])
        voxels = edge[np.searchsorted(edge, number * size) : np.searchsorted(edge, (number + 1) * size)] - number * size
        targets = np.stack(np.unravel_index(voxels, instances.shape), axis=1)
        nearest = nearest_places(
            inside[number],
            np.stack(np.unravel_index(flat[outside], instances.shape), axis=1),
            targets=targets[np.lexsort(targets.T)],  # the last axis slowest
            spacing=spacing or (1.0,) * len(instances.shape),
        )
        flat[outside] = np.ravel_multi_index(tuple(nearest.T), instances.shape)
        found[here] += labels[number].reshape(-1)[flat] - 1 - np.int32(instances.offsets[number])
    return found


def _edge(instances: Instances, inside: np.ndarray) -> np.ndarray:
    """Return those of `instances.voxels` that can be the nearest to one outside, given where components are.

    Such a voxel has a face neighbour outside, towards the other one: a nearer one would lie between. Neighbours across
    the image's border are of no account.
    """
    inside = inside.reshape(-1)
    deep = np.ones(len(instances.voxels), bool)
    for axis in range(len(instances.shape)):
        step = int(np.prod(instances.shape[axis + 1 :]))
        for side in (-step, step):
            deep &= inside.take(instances.voxels + side, mode="clip")
    return instances.voxels[~deep]
