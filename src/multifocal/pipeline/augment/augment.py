"""Augment one training sample: draw, then apply."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from multifocal.pipeline.augment.intensity import add_noise, blur, change_gamma, change_scale, coarsen
from multifocal.pipeline.augment.paste import Pasted, check_pasted
from multifocal.pipeline.augment.sampling import Augmentation, Parameters, draw
from multifocal.pipeline.augment.spatial import warp

Target = TypeVar("Target", Tensor, None)


def augment(
    images: Tensor,
    target: Target,
    *,
    settings: Augmentation,
    generator: torch.Generator,
    spacing: Sequence[float] | None = None,
    prior: Sequence[int] = (),
    places: Sequence[int] = (),
) -> tuple[Tensor, Target]:
    """Draw random changes and apply them to the images and, where they move voxels, to the target alike.

    Args:
        images: (C, X, Y, Z) or (C, X, Y), float32, on any device. Never changed in place.
        target: (X, Y, Z) or (X, Y), uint8, the labels of the same voxels; or None.
        settings: what may change.
        generator: source of all chance; the same state gives the same sample.
        spacing: size of a voxel in mm along each axis; None means 1 mm. Displacements and blur are in mm.
        prior: channels that are binary masks: they move with the target, by nearest voxel, and keep their values.
        places: channels that say where a voxel lies: they move like maps, and keep their values.

    Returns:
        Images and target of the same types, and of the same shapes but for quarter turns. Where nothing was drawn they
        are the inputs themselves.

    Raises:
        TypeError: wrong dtype.
        ValueError: shapes, devices, spacing or channels that do not fit, axes that the image does not have, or settings
            that paste: what other cases there are is known to `TrainingSet`.

    Example:
        >>> settings = Augmentation.model_validate({"flip": {"p": 1, "axes": [1]}})
        >>> images, target = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[0, 1]], dtype=torch.uint8)
        >>> augment(images, target, settings=settings, generator=torch.Generator())
        (tensor([[[2., 1.]]]), tensor([[1, 0]], dtype=torch.uint8))
    """
    _check(images, target, spacing, prior)
    if settings.pastes:
        raise ValueError("paste takes other cases, which augment has not; use TrainingSet, or draw and apply")
    channels = len(images) - len({*prior, *places})
    parameters = draw(settings, channels=channels, size=images.shape[1:], generator=generator)
    return apply(images, target, parameters=parameters, spacing=spacing, prior=prior, places=places)


def apply(
    images: Tensor,
    target: Target,
    *,
    parameters: Parameters,
    spacing: Sequence[float] | None = None,
    prior: Sequence[int] = (),
    places: Sequence[int] = (),
    pasted: Pasted | None = None,
) -> tuple[Tensor, Target]:
    """Apply drawn parameters, in the order paste, noise, anisotropy, blur, gamma, scale and shift, geometry.

    Args:
        images: (C, X, Y, Z) or (C, X, Y), float32, on any device. Never changed in place.
        target: (X, Y, Z) or (X, Y), uint8, the labels of the same voxels; or None.
        parameters: what was drawn for as many channels as are no masks.
        spacing: size of a voxel in mm along each axis; None means 1 mm.
        prior: channels that are binary masks: they move with the target, by nearest voxel, and keep their values.
        places: channels that say where a voxel lies: they move like maps, and keep their values.
        pasted: what of another case comes in, where that was drawn.

    Returns:
        Images and target of the same types, and of the same shapes but for quarter turns. Where nothing was drawn they
        are the inputs themselves.

    Raises:
        TypeError: wrong dtype.
        ValueError: shapes, devices, spacing or channels that do not fit, or `pasted` where no paste was drawn, or the
            other way round.

    Example:
        >>> images = torch.tensor([[[1.0, 2.0]]])
        >>> apply(images, None, parameters=Parameters(flip=(1,)))
        (tensor([[[2., 1.]]]), None)
    """
    _check(images, target, spacing, prior)
    spacing = tuple(spacing) if spacing is not None else (1.0,) * (images.ndim - 1)
    check_pasted(parameters, pasted)
    if pasted is not None:
        images, target = pasted.onto(images), target if target is None else pasted.onto_target(target)
    priors = sorted(set(prior))
    scans = [channel for channel in range(len(images)) if channel not in priors]
    free = [number for number, channel in enumerate(scans) if channel not in places]
    maps = images[scans] if priors else images
    if len(free) == len(scans):
        maps = change_values(maps, parameters, spacing)
    elif free:
        maps = maps.clone()
        maps[free] = change_values(maps[free], parameters, spacing)
    masks = ([images[priors]] if priors else []) + ([target[None]] if target is not None else [])
    maps, masks = warp(maps, masks, parameters=parameters, spacing=spacing)
    if priors:
        moved = images.new_empty(len(images), *maps.shape[1:])
        moved[scans], moved[priors] = maps, masks[0]
        maps = moved
    return maps, target if target is None else masks[-1][0]


def change_values(images: Tensor, parameters: Parameters, spacing: Sequence[float]) -> Tensor:
    """Apply what leaves each voxel where it is: noise, anisotropy, blur, gamma, scale and shift.

    Args:
        images: (C, *size), none of them a mask.
        parameters: what was drawn.
        spacing: size of a voxel in mm along each axis.

    Returns:
        Images of the same shape.

    Example:
        >>> change_values(torch.tensor([[[4.0]]]), Parameters(gamma=(0.5,)), (1.0, 1.0))
        tensor([[[2.]]])
    """
    if parameters.noise is not None:
        noise = parameters.noise
        images = add_noise(images, mean=noise.mean, std=noise.std, seed=noise.seed)
    if parameters.anisotropy is not None:
        images = coarsen(images, axis=parameters.anisotropy.axis, factor=parameters.anisotropy.factor)
    if parameters.blur:
        images = blur(images, std=[std / step for std, step in zip(parameters.blur, spacing, strict=True)])
    if parameters.gamma:
        images = change_gamma(images, exponents=parameters.gamma)
    if parameters.scale or parameters.shift:
        images = change_scale(images, factors=parameters.scale, offsets=parameters.shift)
    return images


def _check(images: Tensor, target: Tensor | None, spacing: Sequence[float] | None, prior: Sequence[int]) -> None:
    if images.dtype != torch.float32:
        raise TypeError(f"images must be float32, got {images.dtype}")
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(f"images must be (C, X, Y) or (C, X, Y, Z) and not empty, got {tuple(images.shape)}")
    if target is not None and target.dtype != torch.uint8:
        raise TypeError(f"target must be uint8, got {target.dtype}")
    if target is not None and (target.shape != images.shape[1:] or target.device != images.device):
        raise ValueError(
            f"target {tuple(target.shape)} on {target.device} must lie on the grid and device of the images, "
            f"{tuple(images.shape[1:])} on {images.device}"
        )
    if spacing is not None and (len(spacing) != images.ndim - 1 or not all(0 < step < math.inf for step in spacing)):
        raise ValueError(f"spacing must be {images.ndim - 1} positive numbers, got {list(spacing)}")
    if not set(prior) <= set(range(len(images))):
        raise ValueError(f"prior must name channels 0 to {len(images) - 1}, got {list(prior)}")
