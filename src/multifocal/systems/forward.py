"""From prepared images to probabilities: whole volumes, sliding windows, or slices re-stacked."""

from collections.abc import Sequence
from itertools import chain, combinations
from typing import cast

import numpy as np
import torch
from torch import nn

from multifocal.cohorts import Labels
from multifocal.errors import UserError
from multifocal.pipeline.prepare import Prepared
from multifocal.systems.network_recipe import InferenceSettings

MEMORY_FORMATS = {
    2: torch.channels_last,
    3: torch.channels_last_3d,
}  # the faster layout for convolutions on CPUs and GPUs


class NotFiniteError(UserError):
    """A network answered with NaN or infinity, which would count as no lesion.

    Args:
        case: the case's name.

    Example:
        >>> str(NotFiniteError("S1")).partition(";")[0]
        'case S1: the network answers with NaN or infinity'
    """

    def __init__(self, case: str) -> None:
        super().__init__(
            f"case {case}: the network answers with NaN or infinity; copy its weights again, or train again with a "
            "lower optimizer.lr or training.precision=32"
        )


@torch.inference_mode()
def probabilities(
    network: nn.Module,
    prepared: Prepared,
    *,
    dimensions: int,
    labels: Labels,
    settings: InferenceSettings,
    autocast: torch.dtype | None,
    mirrored: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """Return the probability of each class at every voxel of the prepared grid, float32 `(classes, *spatial)`.

    A 2D network on a volume gets its axial slices, those without brain excepted: they are 0.

    Args:
        network: maps `(B, C, *spatial)` to logits `(B, labels.channels, *spatial)`; left in the mode it is in.
        prepared: the case.
        dimensions: 2 or 3, the network's.
        labels: which classes there are, and how their logits become probabilities.
        settings: window, flips, batch size.
        autocast: compute in this type (`torch.bfloat16`), or None.
        mirrored: along which axes the image is mirrored, one entry a form of it, over which the mean is taken; None
            takes those of `settings.flips`, see `mirrored_forms`.

    Returns:
        The probabilities, from 0 to 1.

    Raises:
        NotFiniteError: a logit is NaN or infinite.
        UserError: the window is too small for the network.
    """
    device = next(network.parameters()).device
    images = torch.from_numpy(np.array(prepared.images))
    shape = images.shape[1:]
    sliced = images.ndim - 1 > dimensions
    forms = mirrored_forms(settings.flips) if mirrored is None else mirrored
    if sliced:
        slices = np.flatnonzero(prepared.inside.any(axis=(0, 1)))
        batch = images.movedim(-1, 0)[torch.from_numpy(slices)]
    else:
        batch = images[None]
    with torch.autocast(device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        parts = [
            _mirrored_mean(
                network, part.to(device).contiguous(memory_format=MEMORY_FORMATS[dimensions]), labels, settings, forms
            )
            for part in batch.split(settings.batch_size)
        ]
    found = torch.cat(parts).cpu()
    if not found.isfinite().all():
        raise NotFiniteError(prepared.name)
    if not sliced:
        return found[0].numpy()
    volume = torch.zeros(len(labels.names), *shape)
    volume[..., torch.from_numpy(slices)] = found.movedim(0, -1)
    return volume.numpy()


def mirrored_forms(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return all ways to mirror an image along some axes, the first of which leaves it as it is.

    Args:
        axes: of the image.

    Returns:
        The axes that each form is mirrored along.

    Example:
        >>> mirrored_forms((0, 2))
        [(), (0,), (2,), (0, 2)]
    """
    return list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))


def window_of(settings: InferenceSettings, size: Sequence[int], *, multiple: int) -> tuple[int, ...] | None:
    """Return the window that slides over an image, no larger than the image along any axis.

    Args:
        settings: with the window that is asked for.
        size: of the image, an axis each.
        multiple: the sizes that the network takes are multiples of it.

    Returns:
        Its size; None where it would hold the whole image.

    Raises:
        UserError: along an axis it is shorter than the image, and than what the network takes.

    Example:
        >>> window_of(InferenceSettings(window=(64, 64, 10**6)), (200, 60, 30), multiple=8)
        (64, 60, 30)
    """
    if settings.window is None:
        return None
    window = tuple(map(min, settings.window, size))
    # The padding would make up the rest: mostly zeros, and a window for every few voxels.
    if any(length < multiple and length < whole for length, whole in zip(window, size, strict=True)):
        raise UserError(
            f"inference.window={list(settings.window)} is too small for the network, which takes multiples of "
            f"{multiple} voxels; choose {multiple} or more along each axis, or null for the whole image"
        )
    return None if window == tuple(size) else window


def _mirrored_mean(
    network: nn.Module,
    batch: torch.Tensor,
    labels: Labels,
    settings: InferenceSettings,
    forms: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Return the mean probability over forms of the images, each mirrored along some axes."""
    total = torch.zeros(())
    for axes in forms:
        where = [axis + 2 for axis in axes]
        logits = _forward(network, batch.flip(where) if where else batch, settings)
        values = logits.float()
        mirrored = values.softmax(1)[:, 1:] if labels.activation == "softmax" else torch.sigmoid(values)
        # Infinity would make a probability of 0 or 1, as if the network were sure.
        broken = ~logits.isfinite()
        mirrored.masked_fill_(broken.any(1, keepdim=True) if logits.shape[1] > 1 else broken, torch.nan)
        total = total.to(mirrored) + (mirrored.flip(where) if where else mirrored)
    return total / len(forms)


def _forward(network: nn.Module, batch: torch.Tensor, settings: InferenceSettings) -> torch.Tensor:
    window = window_of(settings, batch.shape[2:], multiple=getattr(network, "multiple", 1))
    if window is None:
        return network(batch)
    from monai.inferers import sliding_window_inference

    logits = sliding_window_inference(
        batch, window, settings.batch_size, network, overlap=settings.overlap, mode="gaussian"
    )
    return cast(torch.Tensor, logits)  # MONAI gives a tensor for a network that gives one
