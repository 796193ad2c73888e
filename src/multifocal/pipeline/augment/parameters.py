"""What was drawn for one sample, and the drawing of it: every number that `apply` needs, none left to chance."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multifocal.errors import UserError
from multifocal.pipeline.augment import settings as kinds


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Mean and standard deviation of the noise, and the seed of its values."""

    mean: float
    std: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Anisotropy:
    """The axis to sample `factor` times more coarsely."""

    axis: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Angles in radians (about x, y, z; in 2D only one) and factors along each axis."""

    angles: tuple[float, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """All that was drawn for one sample; None or () is a change that was not drawn.

    `blur` holds a standard deviation in mm an axis, `gamma` an exponent a channel, `elastic` the displacements of the
    control points in mm, float32 (ndim, *points), `flip` the axes to reverse.
    """

    noise: Noise | None = None
    anisotropy: Anisotropy | None = None
    blur: tuple[float, ...] = ()
    gamma: tuple[float, ...] = ()
    elastic: Tensor | None = None
    affine: Affine | None = None
    flip: tuple[int, ...] = ()


def draw(settings: kinds.Augmentation, *, channels: int, size: Sequence[int], generator: torch.Generator) -> Parameters:
    """Draw the parameters for a sample of `channels` channels (prior masks not counted) and the given size.

    The generator is asked once, for one seed a transform: neither switching a transform on or off nor what it draws
    changes anything for the others.

    Raises:
        UserError: the settings name an axis that an image of this size does not have.

    Example:
        >>> settings = kinds.Augmentation(gamma=kinds.Gamma(p=1))
        >>> drawn = draw(settings, channels=2, size=(8, 8), generator=torch.Generator().manual_seed(0))
        >>> len(drawn.gamma), drawn.noise
        (2, None)
    """
    seeds = torch.randint(2**62, (len(_SAMPLERS),), generator=generator, device=generator.device).tolist()
    drawn: dict[str, Any] = {}
    for (name, sample), seed in zip(_SAMPLERS.items(), seeds, strict=True):
        transform = getattr(settings, name)
        if transform is None:
            continue
        dice = _Dice(torch.Generator().manual_seed(seed))
        hit = name == "flip" or dice.hits(transform.p)
        values = sample(transform, channels, tuple(size), dice)  # drawn in any case: axes that do not exist always show
        if hit:
            drawn[name] = values
    return Parameters(**drawn)


@dataclass(frozen=True)
class _Dice:
    generator: torch.Generator

    def hits(self, probability: float) -> bool:
        return self.uniform((0, 1), 1)[0] < probability

    def uniform(self, span: tuple[float, float], count: int) -> list[float]:
        low, high = span
        return [
            low + (high - low) * u for u in torch.rand(count, dtype=torch.float64, generator=self.generator).tolist()
        ]

    def integer(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self.generator))


def _noise(noise: kinds.Noise, channels: int, size: tuple[int, ...], dice: _Dice) -> Noise:
    return Noise(mean=noise.mean, std=dice.uniform(noise.std, 1)[0], seed=dice.integer(2**62))


def _anisotropy(anisotropy: kinds.Anisotropy, channels: int, size: tuple[int, ...], dice: _Dice) -> Anisotropy | None:
    axes = [axis for axis in _axes("anisotropy.axes", anisotropy.axes, len(size)) if size[axis] > 1]
    if not axes:
        return None
    return Anisotropy(axis=axes[dice.integer(len(axes))], factor=dice.uniform(anisotropy.downsampling, 1)[0])


def _blur(blur: kinds.Blur, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(dice.uniform(blur.std, len(size)))


def _gamma(gamma: kinds.Gamma, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(math.exp(log_gamma) for log_gamma in dice.uniform(gamma.log_gamma, channels))


def _elastic(elastic: kinds.Elastic, channels: int, size: tuple[int, ...], dice: _Dice) -> Tensor:
    ndim, points, locked = len(size), elastic.control_points, elastic.locked_borders
    field = torch.rand(ndim, *[points] * ndim, generator=dice.generator).mul_(2).sub_(1).mul_(elastic.max_displacement)
    for axis in _axes("elastic.locked_axes", elastic.locked_axes, ndim):
        field.narrow(axis + 1, 0, locked).zero_()
        field.narrow(axis + 1, points - locked, locked).zero_()
    return field


def _affine(affine: kinds.Affine, channels: int, size: tuple[int, ...], dice: _Dice) -> Affine:
    degrees = dice.uniform(affine.degrees, 3 if len(size) == 3 else 1)
    return Affine(angles=tuple(map(math.radians, degrees)), scales=tuple(dice.uniform(affine.scales, len(size))))


def _flip(flip: kinds.Flip, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[int, ...]:
    return tuple(axis for axis in _axes("flip.axes", flip.axes, len(size)) if dice.hits(flip.p))


def _axes(where: str, axes: tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    if axes is not None and max(axes) >= ndim:
        raise UserError(f"augmentation, {where}: a {ndim}D image has no axis {max(axes)}; use axes 0 to {ndim - 1}")
    return tuple(range(ndim)) if axes is None else axes


_SAMPLERS: dict[str, Callable[..., Any]] = {
    "noise": _noise,
    "anisotropy": _anisotropy,
    "blur": _blur,
    "gamma": _gamma,
    "elastic": _elastic,
    "affine": _affine,
    "flip": _flip,
}
