"""Coarser sampling along one axis, then linear interpolation back to the old grid."""

import torch
from torch import Tensor


def coarsen(images: Tensor, *, axis: int, factor: float) -> Tensor:
    """Sample images (C, *size) every `factor` voxels along a spatial axis (nearest voxel) and interpolate back.

    The coarse samples number floor(size / factor), at least one, and lie symmetric about the centre. Before the first
    and after the last one the value stays constant (TorchIO puts 0 there once it is more than half a coarse step away).

    Example:
        >>> coarsen(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), axis=0, factor=2.0)
        tensor([[1.0000, 1.5000, 2.5000, 3.0000]])
    """
    size = images.shape[axis + 1]
    samples = max(1, int(size / factor))
    centre, middle = (size - 1) / 2, (samples - 1) / 2
    source = (centre + (torch.arange(samples, dtype=torch.float64) - middle) * factor + 0.5).floor().long()
    place = (middle + (torch.arange(size, dtype=torch.float64) - centre) / factor).clamp(0, samples - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp(max=samples - 1)
    share = (place - lower).to(images.dtype).reshape(-1, *[1] * (images.ndim - axis - 2)).to(images.device)
    low = _take(images, source[lower].to(images.device), axis + 1)
    return low.lerp_(_take(images, source[upper].to(images.device), axis + 1), share)


def _take(images: Tensor, index: Tensor, axis: int) -> Tensor:
    if axis == images.ndim - 1:  # there index_select would copy voxel by voxel, four times slower
        return images.gather(axis, index.expand(images.shape))
    return images.index_select(axis, index)
