"""Exact Euclidean distance transforms of a stack of images, axis by axis."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from multifocal.kernels import envelope
from multifocal.kernels.squares import whole_squares
from multifocal.kernels.threads import shared

# Voxels that are worth a thread.
_LEAST = 1 << 15


def signed_squares(masks: np.ndarray, *, spacing: Sequence[float] | None, threads: int) -> np.ndarray:
    """Return for each voxel the squared distance to the other side of its mask's border, negative inside.

    Args:
        masks: boolean, (images, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        threads: how many to use.

    Returns:
        float32, infinite in images without a border.
    """
    masks = np.ascontiguousarray(masks)
    field = np.empty(masks.shape, np.float32)
    squares = [float(side) ** 2 for side in spacing or (1.0,) * (masks.ndim - 1)]
    rows = masks.reshape(-1, masks.shape[-1])
    _rows(lambda a, b: envelope.first_signed(rows, field.reshape(rows.shape), squares[-1], a, b), rows, threads)
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
    rows, out = labels.reshape(-1, labels.shape[-1]), field.reshape(-1, labels.shape[-1])
    _rows(lambda a, b: envelope.first_labels(rows, out, rank, units[-1], a, b), rows, threads)
    _other_axes(field, labels, rank, units, threads)


def _rows(work: Callable[[int, int], None], rows: np.ndarray, threads: int) -> None:
    shared(work, len(rows), threads=threads, least=max(1, _LEAST // rows.shape[1]))


def _other_axes(
    field: np.ndarray, labels: np.ndarray | None, rank: np.ndarray | None, squares: Sequence[float], threads: int
) -> None:
    for axis, shape in _views(field.shape):
        lines, names = field.reshape(shape), None if labels is None else labels.reshape(shape)
        square = squares[axis - 1]

        def work(start: int, stop: int, lines=lines, names=names, square=square) -> None:  # type: ignore[no-untyped-def]
            envelope.next_axis(lines, names, rank, square, start, stop)

        tiles = shape[0] * -(-shape[2] // envelope.TILE)
        shared(work, tiles, threads=threads, least=max(1, _LEAST // (shape[1] * envelope.TILE)))


def _views(shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Yield every spatial axis but the last, and (before, n, behind) to look along it."""
    for axis in range(len(shape) - 2, 0, -1):
        if shape[axis] > 1:
            yield axis, (int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :])))
