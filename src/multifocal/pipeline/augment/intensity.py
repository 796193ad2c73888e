"""Noise, anisotropy, blur, gamma, scale and shift: changes of the values, each voxel staying where it is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_TRUNCATE = 4.0
"""The Gaussian kernel ends this many standard deviations from its centre."""


def add_noise(images: Tensor, *, mean: float, std: float, seed: int) -> Tensor:
    """Return images + n with n ~ N(mean, std^2), independent in every voxel, background included.

    Args:
        images: (C, *size).
        mean: of the noise.
        std: its standard deviation.
        seed: of its values.

    Returns:
        Images of the same shape.

    Example:
        >>> add_noise(torch.zeros(1, 2, 2), mean=3.0, std=0.0, seed=0).unique()
        tensor([3.])
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return noise.mul_(std).add_(mean).add_(images)


def change_gamma(images: Tensor, *, exponents: Sequence[float]) -> Tensor:
    """Return sign(x) |x|^g with channel c's g = `exponents[c]`.

    Args:
        images: (C, *size).
        exponents: one a channel.

    Returns:
        Images of the same shape.

    Example:
        >>> change_gamma(torch.tensor([[-4.0, 0.0, 9.0]]), exponents=[0.5])
        tensor([[-2.,  0.,  3.]])
    """
    changed = images.abs()
    for channel, exponent in zip(changed, exponents, strict=True):
        channel.pow_(exponent)
    return changed.copysign_(images)


def change_scale(images: Tensor, *, factors: Sequence[float] = (), offsets: Sequence[float] = ()) -> Tensor:
    """Return a x + b with channel c's a = `factors[c]` and b = `offsets[c]`, background included.

    Args:
        images: (C, *size).
        factors: one a channel; none is 1.
        offsets: one a channel; none is 0.

    Returns:
        Images of the same shape.

    Example:
        >>> change_scale(torch.tensor([[1.0, 3.0]]), factors=[2.0], offsets=[0.5])
        tensor([[2.5000, 6.5000]])
    """
    changed = torch.empty_like(images)
    for number, (channel, source) in enumerate(zip(changed, images, strict=True)):
        torch.mul(source, factors[number] if factors else 1.0, out=channel)
        if offsets:
            channel.add_(offsets[number])
    return changed


def blur(images: Tensor, *, std: Sequence[float]) -> Tensor:
    """Blur images (C, *size) along each spatial axis by a Gaussian of `std` voxels, mirrored at the edges.

    The kernel is exp(-k^2 / 2 std^2), normalized, for |k| up to four standard deviations (rounded to a whole voxel).

    Args:
        images: (C, *size).
        std: standard deviation along each axis, in voxels.

    Returns:
        Images of the same shape.

    Example:
        >>> blur(torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]]), std=[0.5]).round(decimals=2)
        tensor([[0.0000, 0.1100, 0.7900, 0.1100, 0.0000]])
    """
    for axis, sigma in enumerate(std, start=1):
        radius = blur_radius(sigma)
        if radius:
            images = _convolve(images, axis=axis, weights=_kernel(sigma, radius))
    return images


def blur_radius(sigma: float) -> int:
    """Return how far the kernel of a blur reaches.

    Args:
        sigma: its standard deviation in voxels.

    Returns:
        Voxels to either side.

    Example:
        >>> blur_radius(0.1), blur_radius(1.0)
        (0, 4)
    """
    return int(_TRUNCATE * sigma + 0.5)


def coarsen(images: Tensor, *, axis: int, factor: float) -> Tensor:
    """Sample images (C, *size) every `factor` voxels along a spatial axis (nearest voxel) and interpolate back.

    The coarse samples number floor(size / factor), at least one, and lie symmetric about the centre. Before the first
    and after the last one the value stays constant (TorchIO puts 0 there once it is more than half a coarse step away).

    Args:
        images: (C, *size).
        axis: a spatial axis, from 0.
        factor: 1 or more.

    Returns:
        Images of the same shape.

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


def _kernel(sigma: float, radius: int) -> list[float]:
    """Return the weights of the centre and of one side."""
    weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    return [weight / total for weight in weights]


def _convolve(images: Tensor, *, axis: int, weights: Sequence[float]) -> Tensor:
    size, radius = images.shape[axis], len(weights) - 1
    mirrored = _mirrored(images, axis=axis, radius=radius)
    summed = images * weights[0]
    for k, weight in enumerate(weights[1:], start=1):
        summed.add_(mirrored.narrow(axis, radius - k, size), alpha=weight)
        summed.add_(mirrored.narrow(axis, radius + k, size), alpha=weight)
    return summed


def _mirrored(images: Tensor, *, axis: int, radius: int) -> Tensor:
    """Extend by `radius` voxels at both ends of the axis: d c b a | a b c d | d c b a, as often as it takes."""
    size = images.shape[axis]
    if radius <= size:
        ends = images.narrow(axis, 0, radius).flip(axis), images.narrow(axis, size - radius, radius).flip(axis)
        return torch.cat([ends[0], images, ends[1]], dim=axis)
    index = torch.arange(-radius, size + radius, device=images.device).remainder(2 * size)
    return images.index_select(axis, torch.minimum(index, 2 * size - 1 - index))


def _take(images: Tensor, index: Tensor, axis: int) -> Tensor:
    if axis == images.ndim - 1:  # there index_select would copy voxel by voxel, four times slower
        return images.gather(axis, index.expand(images.shape))
    return images.index_select(axis, index)
