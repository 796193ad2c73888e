"""Read images at scattered coordinates: the cells are found once and serve every channel and the masks alike."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sites:
    """Where to read in an image that has gained a layer of one voxel on every side.

    `corner` is the flat index of each cell's lower corner, int64 (N,); `fractions` are the places within the cells
    along each axis, (N,) in [0, 1]; `strides` are the steps of the flat index along each axis.
    """

    corner: Tensor
    fractions: tuple[Tensor, ...]
    strides: tuple[int, ...]

    @cached_property
    def nearest(self) -> Tensor:
        """Flat index of the nearest voxel, int64 (N,)."""
        index = self.corner
        for fraction, stride in zip(self.fractions, self.strides, strict=True):
            index = index.add(fraction >= 0.5, alpha=stride)
        return index


def locate(coordinates: Tensor) -> Sites:
    """Find the cells of `coordinates` (ndim, *size), in voxels of an image of that size; they are overwritten."""
    size = coordinates.shape[1:]
    strides = tuple(prod(n + 2 for n in size[axis + 1 :]) for axis in range(len(size)))
    corner = torch.zeros(size.numel(), dtype=torch.int64, device=coordinates.device)
    fractions = []
    for place, n, stride in zip(coordinates.flatten(1), size, strides, strict=True):
        place.add_(1).clamp_(0, n + 1)
        lower = place.floor().clamp_(max=n)
        fractions.append(place.sub_(lower))
        corner.add_(lower.long(), alpha=stride)
    return Sites(corner=corner, fractions=tuple(fractions), strides=strides)


def linear(images: Tensor, sites: Sites, *, fill: Tensor) -> Tensor:
    """Interpolate `images` (C, *size) linearly, as if channel c went on with the value `fill[c]` outside."""
    read = torch.empty_like(images)
    for channel, flat in zip(read, _padded(images, fill), strict=True):
        channel.copy_(_interpolate(flat, sites).reshape(channel.shape))
    return read


def nearest(masks: Tensor, sites: Sites) -> Tensor:
    """Read the nearest voxel of `masks` (C, *size), any dtype, as if they went on with 0 outside."""
    read = torch.empty_like(masks)
    for channel, flat in zip(read, _padded(masks, masks.new_zeros(len(masks))), strict=True):
        channel.copy_(flat.index_select(0, sites.nearest).reshape(channel.shape))
    return read


def background(images: Tensor) -> Tensor:
    """Return each channel's value outside the scanned object, (C,): the lower median of the image's corners.

    Example:
        >>> image = torch.full((1, 5, 5), -0.5)
        >>> image[0, 1:4, 1:4] = 1.0
        >>> background(image)
        tensor([-0.5000])
    """
    corners = images
    for axis in range(1, images.ndim):
        corners = torch.stack([corners.select(axis, 0), corners.select(axis, -1)], dim=axis)
    return corners.flatten(1).median(dim=1).values


def _padded(images: Tensor, fill: Tensor) -> Tensor:
    """Return (C, voxels): every channel inside one layer of its own fill, flat."""
    size = images.shape[1:]
    padded = images.new_empty(len(images), *(n + 2 for n in size))
    padded.copy_(fill.reshape(-1, *[1] * len(size)))
    inside = padded
    for axis, n in enumerate(size, start=1):
        inside = inside.narrow(axis, 1, n)
    inside.copy_(images)
    return padded.flatten(1)


def _interpolate(flat: Tensor, sites: Sites, axis: int = 0, offset: int = 0) -> Tensor:
    """Return the values between the corners of the cells along `axis` and all later axes."""
    if axis == len(sites.strides):
        return flat[offset:].index_select(0, sites.corner)
    low = _interpolate(flat, sites, axis + 1, offset)
    high = _interpolate(flat, sites, axis + 1, offset + sites.strides[axis])
    return low.lerp_(high, sites.fractions[axis])
