"""A crop of an augmented image, of which nothing else is computed.

What is drawn is drawn for the whole image, and its field of displacements is read at the crop's voxels alone. They come
from a box of the old image, which is cut out with as much around it as blur and anisotropy look at: no border of a crop
shows.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from multifocal.pipeline.augment.augment import change_values
from multifocal.pipeline.augment.intensity import blur_radius, change_gamma
from multifocal.pipeline.augment.sampling import Parameters
from multifocal.pipeline.augment.spatial import background, read_slabs, sampling_coordinates

Slices = tuple[slice, ...]


def apply_crop(
    images: np.ndarray,
    target: np.ndarray,
    *,
    parameters: Parameters,
    corner: Sequence[int],
    crop: Sequence[int],
    spacing: Sequence[float] | None = None,
    prior: Sequence[int] = (),
) -> tuple[Tensor, Tensor]:
    """Return a crop of what `apply` would make of the whole image.

    The numbers are those of `apply` but for noise, which is drawn for what is computed and so has other values of the
    same distribution, and for what comes from outside the image: that is the median of its corners before noise, blur
    and anisotropy.

    Args:
        images: float32 `(C, *spatial)`, perhaps memory-mapped: what is not needed is not read.
        target: uint8 `(*spatial)`.
        parameters: what was drawn, for as many channels as are no masks.
        corner: the crop's first voxel in the changed image.
        crop: its size; where it reaches beyond the image, at the far end, it is filled with 0.
        spacing: size of a voxel in mm along each axis; None means 1 mm.
        prior: channels that are binary masks.

    Returns:
        Images `(C, *crop)` and target `(*crop)`.

    Example:
        >>> images, target = np.array([[[1.0, 2.0, 3.0]]], np.float32), np.array([[0, 0, 1]], np.uint8)
        >>> apply_crop(images, target, parameters=Parameters(flip=(1,)), corner=(0, 0), crop=(1, 2))
        (tensor([[[3., 2.]]]), tensor([[1, 0]], dtype=torch.uint8))
    """
    size = target.shape
    spacing = tuple(spacing) if spacing is not None else (1.0,) * len(size)
    region = tuple(slice(c, min(c + length, n)) for c, length, n in zip(corner, crop, size, strict=True))
    priors = sorted(set(prior))
    scans = [channel for channel in range(len(images)) if channel not in priors]
    moves = parameters.elastic is not None or parameters.affine is not None
    slabs: list[tuple[slice, Tensor]] = []
    if moves:
        slabs = list(
            sampling_coordinates(parameters, size=size, spacing=spacing, device=torch.device("cpu"), region=region)
        )
        box = _box([coordinates for _, coordinates in slabs], size)
    else:
        box = tuple(
            slice(n - part.stop, n - part.start) if axis in parameters.flip else part
            for axis, (part, n) in enumerate(zip(region, size, strict=True))
        )
    maps = _scans(images, scans, box, parameters, spacing)
    marked = [*(images[channel][box].astype(np.uint8) for channel in priors), target[box]]
    masks = torch.from_numpy(np.stack(marked))
    if moves:
        offset = torch.tensor([part.start for part in box], dtype=torch.float32).reshape(-1, *[1] * len(size))
        slabs = [(rows, coordinates.sub_(offset)) for rows, coordinates in slabs]
        shape = [part.stop - part.start for part in region]
        maps, (masks,) = read_slabs(maps, [masks], _outside(images, scans, parameters), slabs, shape)
    else:
        axes = [axis + 1 for axis in parameters.flip]
        maps, masks = maps.flip(axes), masks.flip(axes)
    joined = torch.empty(len(images), *maps.shape[1:])
    joined[scans], joined[priors] = maps, masks[:-1].float()
    return _filled(joined, crop), _filled(masks[-1], crop)


def _scans(
    images: np.ndarray, scans: Sequence[int], box: Slices, parameters: Parameters, spacing: Sequence[float]
) -> Tensor:
    """Return a box of the maps with changed values, each computed from all the voxels that it would be in the whole."""
    size = images.shape[1:]
    reach = [blur_radius(std / step) for std, step in zip(parameters.blur or [0.0] * len(size), spacing, strict=True)]
    outer = [slice(max(0, part.start - r), min(n, part.stop + r)) for part, r, n in zip(box, reach, size, strict=True)]
    if parameters.anisotropy is not None:  # its coarse samples are counted from the centre of the whole axis
        axis = parameters.anisotropy.axis
        outer[axis] = slice(0, size[axis])
    cut = np.stack([np.asarray(images[channel][tuple(outer)], np.float32) for channel in scans]) if scans else None
    if cut is None:
        return torch.empty(0, *[part.stop - part.start for part in box])
    changed = change_values(torch.from_numpy(cut), parameters, spacing)
    inner = tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, outer, strict=True))
    return changed[(slice(None), *inner)]


def _outside(images: np.ndarray, scans: Sequence[int], parameters: Parameters) -> Tensor:
    """Return what lies outside of each map."""
    corners = np.stack([images[np.ix_([channel], *[[0, -1]] * (images.ndim - 1))][0] for channel in scans] or [[]])
    found = torch.from_numpy(corners.astype(np.float32))
    if not scans:
        return torch.empty(0)
    return background(change_gamma(found, exponents=parameters.gamma) if parameters.gamma else found)


def _box(coordinates: Sequence[Tensor], size: Sequence[int]) -> Slices:
    """Return the voxels of an image that are read at the coordinates, at least one along each axis."""
    ends = torch.stack([end for part in coordinates for end in torch.aminmax(part.flatten(1), dim=1)])
    low, high = ends.amin(0).floor().int().tolist(), ends.amax(0).floor().int().tolist()
    return tuple(
        slice(min(max(first, 0), n - 1), min(max(last + 2, 1), n))
        for first, last, n in zip(low, high, size, strict=True)
    )


def _filled(values: Tensor, crop: Sequence[int]) -> Tensor:
    """Return values with 0 at the far end of each axis up to the crop's size, contiguous."""
    missing = [length - own for length, own in zip(crop, values.shape[-len(crop) :], strict=True)]
    extra = [amount for m in missing[::-1] for amount in (0, m)]
    return functional.pad(values, extra) if any(extra) else values.contiguous()
