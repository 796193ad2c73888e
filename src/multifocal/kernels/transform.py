"""Exact Euclidean distance transforms of a stack of images, axis by axis."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from multifocal.kernels import envelope
from multifocal.kernels.squares import whole_squares
from multifocal.kernels.threads import shared

# Voxels that are worth a thread.
_LEAST = 1 << 18


def signed_squares(masks: np.ndarray, *, spacing: Sequence[float] | None, threads: int) -> np.ndarray:
    """Return for each voxel the squared distance to the other side of its mask's border, negative inside.

    Args:
        masks: boolean, (images, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        threads: how many to use.

    Returns:
        float32, infinite in images without a border.
    """
    field = np.empty(masks.shape, np.float32)
    squares = [float(side) ** 2 for side in spacing or (1.0,) * (masks.ndim - 1)]
    planes = _along(np.ascontiguousarray(masks), -2)
    out = field.reshape(planes.shape)
    _shared(lambda a, b: envelope.first_signed(planes, out, squares[-2], a, b), planes, threads)
    _other_axes(field, None, None, squares, threads)
    return field


def spread_labels(
    labels: np.ndarray, *, rank: np.ndarray | None, spacing: Sequence[float] | None, threads: int
) -> None:
    """Give every voxel of label -1 the label that is nearest to it, in place.

    Args:
        labels: contiguous int32, (images, *spatial), each image with a label of 0 or more.
        rank: for each label its place in the order in which labels win ties; None: the lower label wins.
        spacing: mm per voxel along each axis; None counts in voxels.
        threads: how many to use.
    """
    field = np.empty(labels.shape)
    units = whole_squares(labels.shape[1:], spacing)
    planes, out = _along(labels, -2), _along(field, -2)
    _shared(lambda a, b: envelope.first_labels(planes, out, rank, units[-2], a, b), planes, threads)
    _other_axes(field, labels, rank, units, threads)


def _other_axes(
    field: np.ndarray, labels: np.ndarray | None, rank: np.ndarray | None, squares: Sequence[float], threads: int
) -> None:
    """Take all axes but the last but one into account."""
    rows = field.reshape(-1, field.shape[-1])
    names = None if labels is None else labels.reshape(rows.shape)
    _shared(lambda a, b: envelope.last_axis(rows, names, rank, squares[-1], a, b), rows, threads)
    if field.ndim == 4 and field.shape[1] > 1:
        lines, owners = _along(field, 1), None if labels is None else _along(labels, 1)
        tiles = lines.shape[0] * -(-lines.shape[2] // envelope.TILE)

        def work(start: int, stop: int) -> None:
            envelope.next_axis(lines, owners, rank, squares[0], start, stop)

        shared(work, tiles, threads=threads, least=max(1, _LEAST // (lines.shape[1] * envelope.TILE)))


def _along(array: np.ndarray, axis: int) -> np.ndarray:
    """Return an array as (before, n, behind), to look along an axis."""
    axis %= array.ndim
    before, behind = math.prod(array.shape[:axis]), math.prod(array.shape[axis + 1 :])
    return array.reshape(before, array.shape[axis], behind)


def _shared(work: Callable[[int, int], None], array: np.ndarray, threads: int) -> None:
    """Share out the first axis of an array."""
    shared(work, len(array), threads=threads, least=max(1, _LEAST // array[0].size))
