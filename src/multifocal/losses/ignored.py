"""Ignored voxels: in no sum, no component, no distance and no cell, as if the image ended before them.

What such a voxel holds, in the logits and in the target, changes nothing, and its gradient is exactly 0. An image of
which nothing is left costs 0, with a gradient of 0, and stays in the mean over images.
"""

from collections.abc import Sequence

import numpy as np
import torch

from multifocal.distance import border_fields
from multifocal.instances.voronoi import Frames


def without_ignored(
    target: torch.Tensor, shape: Sequence[int], *, value: int | None, mask: torch.Tensor | None, softmax: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the target with 0 in its ignored voxels, and where these are.

    Args:
        target: of the logits' shape; with softmax also class numbers, (B, 1, *spatial) or (B, *spatial). One of
            another shape comes back as it is, to be refused.
        shape: of the logits, (B, C, *spatial).
        value: of the target's ignored voxels; None for none.
        mask: True where a voxel is ignored: (B, *spatial), (B, 1, *spatial) or of the logits' shape; None for none.
        softmax: whether a voxel is ignored in all channels as soon as it is in one.

    Returns:
        The target, and a boolean tensor (B, 1 or C, *spatial), None where nothing is ignored.

    Raises:
        ValueError: the mask is none, or of another shape.

    Example:
        >>> target = torch.tensor([[[[0, 1, 255]]]])
        >>> [part.tolist() for part in without_ignored(target, target.shape, value=255, mask=None, softmax=False)]
        [[[[[0, 1, 0]]]], [[[[False, False, True]]]]]
    """
    ignored = None if mask is None else _checked(mask, shape)
    if not isinstance(target, torch.Tensor) or target.is_complex():
        return target, ignored  # which is refused
    if value is not None and _holds(target.dtype, value):
        marked = target == value
        marked = marked[:, None] if marked.ndim == len(shape) - 1 else marked
        if marked.shape[:1] + marked.shape[2:] != torch.Size([shape[0], *shape[2:]]):
            return target, None
        ignored = marked if ignored is None else marked | ignored.to(marked.device)
    if ignored is None or not bool(ignored.any()):
        return target, None
    if softmax:
        ignored = ignored.any(1, keepdim=True)
    here = ignored[:, 0] if target.ndim == len(shape) - 1 and ignored.shape[1] == 1 else ignored
    if target.ndim != here.ndim or target.shape[2:] != here.shape[2:] or len(target) != len(here):
        return target, None
    return target.masked_fill(here.to(target.device), 0), ignored


def known_border_fields(
    masks: torch.Tensor, ignored: torch.Tensor | None, *, spacing: Sequence[float] | None, power: float
) -> torch.Tensor:
    """Return `border_fields` of masks to whose sides ignored voxels do not belong.

    Inside a mask this is the distance to the nearest voxel that is neither in it nor ignored.

    Args:
        masks: boolean, (images, *spatial), False in ignored voxels.
        ignored: boolean, of the same shape; None for none.
        spacing: mm per voxel along each axis; None counts in voxels.
        power: 1 for distances, 2 for squared ones.

    Returns:
        float32 of the same shape, 0 in ignored voxels and in images without a border.

    Example:
        >>> mask, ignored = torch.tensor([[[True, False, False]]]), torch.tensor([[[False, True, False]]])
        >>> known_border_fields(mask, ignored, spacing=None, power=1.0).tolist()
        [[[2.0, 0.0, 2.0]]]
    """
    outside = border_fields(masks, spacing=spacing, power=power)
    if ignored is None:
        return outside
    inside = border_fields(masks | ignored, spacing=spacing, power=power)
    return torch.where(masks, inside, outside).masked_fill_(ignored, 0)


def frames_of(known: np.ndarray) -> Frames:
    """Return the box of each image that holds what is not ignored.

    Args:
        known: boolean, (images, *spatial).

    Returns:
        Lower and upper corners (exclusive), two arrays (images, axes); both 0 where nothing is left.

    Example:
        >>> lower, upper = frames_of(np.array([[[False, True, True]], [[False, False, False]]]))
        >>> lower.tolist(), upper.tolist()
        ([[0, 1], [0, 0]], [[1, 3], [0, 0]])
    """
    axes = range(1, known.ndim)
    lower, upper = (np.zeros((len(known), known.ndim - 1), np.int64) for _ in range(2))
    for axis in axes:
        there: np.ndarray = np.any(known, axis=tuple(other for other in axes if other != axis))
        some = there.any(axis=1)
        lower[:, axis - 1] = np.where(some, there.argmax(1), 0)
        upper[:, axis - 1] = np.where(some, there.shape[1] - there[:, ::-1].argmax(1), 0)
    return lower, upper


def _checked(mask: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return a mask as (B, 1 or C, *spatial)."""
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        found = f"has dtype {mask.dtype}" if isinstance(mask, torch.Tensor) else f"is a {type(mask).__name__}"
        raise ValueError(f"ignore {found}; expected a boolean tensor, True where a voxel is ignored")
    batch, channels, *spatial = shape
    if tuple(mask.shape) not in ((batch, *spatial), (batch, 1, *spatial), (batch, channels, *spatial)):
        raise ValueError(
            f"ignore has shape {tuple(mask.shape)}; expected {(batch, *spatial)}, {(batch, 1, *spatial)} or that of "
            f"the logits, {tuple(shape)}"
        )
    return mask[:, None] if mask.ndim == len(shape) - 1 else mask


def _holds(kind: torch.dtype, value: int) -> bool:
    """Return whether a type has a value: one beyond it would come back around from the other end."""
    if kind == torch.bool or kind.is_floating_point:
        return True
    limits = torch.iinfo(kind)
    return limits.min <= value <= limits.max
