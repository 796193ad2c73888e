"""Noise, blur and gamma: changes of the values, each voxel staying where it is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_TRUNCATE = 4.0
"""The Gaussian kernel ends this many standard deviations from its centre."""


def add_noise(images: Tensor, *, mean: float, std: float, seed: int) -> Tensor:
    """Return images + n with n ~ N(mean, std^2), independent in every voxel, background included."""
    generator = torch.Generator(images.device).manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return noise.mul_(std).add_(mean).add_(images)


def change_gamma(images: Tensor, *, exponents: Sequence[float]) -> Tensor:
    """Return sign(x) |x|^g with channel c's g = `exponents[c]`.

    Example:
        >>> change_gamma(torch.tensor([[-4.0, 0.0, 9.0]]), exponents=[0.5])
        tensor([[-2.,  0.,  3.]])
    """
    changed = images.abs()
    for channel, exponent in zip(changed, exponents, strict=True):
        channel.pow_(exponent)
    return changed.copysign_(images)


def blur(images: Tensor, *, std: Sequence[float]) -> Tensor:
    """Blur images (C, *size) along each spatial axis by a Gaussian of `std` voxels, mirrored at the edges.

    The kernel is exp(-k^2 / 2 std^2), normalized, for |k| up to four standard deviations (rounded to a whole voxel).
    """
    for axis, sigma in enumerate(std, start=1):
        radius = int(_TRUNCATE * sigma + 0.5)
        if radius:
            images = _convolve(images, axis=axis, weights=_kernel(sigma, radius))
    return images


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
