"""Read images at scattered coordinates: the cells are found once and serve every channel and the masks alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

_BEFORE, _LAYERS = 1, 3
"""Voxels of fill before the image along each axis, and in all: one cell outside either end can be read."""


@dataclass(frozen=True)
class Sites:
    """Where to read in padded images (see `pad`).

    `corner` is the flat index of each cell's lower corner, int32 (N,); `fractions` are the places within the cells
    along each axis, float32 (ndim, N) in [0, 1); `strides` are the steps of the flat index along each axis.
    """

    corner: Tensor
    fractions: Tensor
    strides: tuple[int, ...]


def locate(coordinates: Tensor, size: Sequence[int]) -> Sites:
    """Find the cells of `coordinates` (ndim, ...), in voxels of an image of the given size; they are overwritten."""
    strides = tuple(prod(n + _LAYERS for n in size[axis + 1 :]) for axis in range(len(size)))
    places = coordinates.flatten(1).add_(_BEFORE)
    corner = torch.zeros(places.shape[1], dtype=torch.int32, device=places.device)
    for place, n, stride in zip(places, size, strides, strict=True):
        corner.add_(place.clamp_(0, n + _BEFORE).int(), alpha=stride)
    return Sites(corner=corner, fractions=places.frac_(), strides=strides)


def pad(images: Tensor, fill: Tensor) -> Tensor:
    """Return (C, voxels), flat: each channel of images (C, *size) within layers of its own fill (C,)."""
    size = images.shape[1:]
    padded = images.new_empty(len(images), *(n + _LAYERS for n in size))
    padded.copy_(fill.reshape(-1, *[1] * len(size)))
    inside = padded
    for axis, n in enumerate(size, start=1):
        inside = inside.narrow(axis, _BEFORE, n)
    inside.copy_(images)
    return padded.flatten(1)


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


def linear(padded: Tensor, sites: Sites) -> Iterator[Tensor]:
    """Yield each channel of padded images (C, voxels) interpolated at the sites, (N,)."""
    corner = sites.corner.long()

    def between(flat: Tensor, axis: int, offset: int) -> Tensor:
        """Interpolate between the corners of each cell along `axis` and all later axes."""
        if axis == len(sites.strides):
            return flat[offset:].index_select(0, corner)
        low = between(flat, axis + 1, offset)
        return low.lerp_(between(flat, axis + 1, offset + sites.strides[axis]), sites.fractions[axis])

    for flat in padded:
        yield between(flat, 0, 0)


def nearest(padded: Sequence[Tensor], sites: Sites) -> Iterator[Tensor]:
    """Yield each of the padded masks (voxels,), any dtype, at the nearest voxel (at ties the upper), (N,)."""
    index = sites.corner.clone()
    for fraction, stride in zip(sites.fractions, sites.strides, strict=True):
        index.add_((fraction + 0.5).int(), alpha=stride)
    index = index.long()
    for flat in padded:
        yield flat.index_select(0, index)
