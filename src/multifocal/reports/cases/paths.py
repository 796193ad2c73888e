"""Masks as SVG paths in voxel units: sharp at every size, and coloured by the page's style sheet."""

from collections.abc import Iterator

import numpy as np


def outline(mask: np.ndarray) -> str:
    """Return the edges between inside and outside of a 2D mask, as path data to be stroked.

    Axis 0 runs to the right and axis 1 down; a voxel (i, j) covers the square from (i, j) to (i + 1, j + 1). Edges lie
    where the mask's do, without smoothing; straight pieces are drawn as one.

    Example:
        >>> outline(np.array([[1], [1]], bool))
        'M0 0v1M2 0v1M0 0h2M0 1h2'
    """
    padded = np.pad(mask, 1).astype(np.int8)
    upright = [f"M{i} {j}v{n}" for i, j, n in _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)]
    level = [f"M{i} {j}h{n}" for j, i, n in _runs(np.diff(padded, axis=1)[1:-1].T != 0)]
    return "".join(upright + level)


def area(mask: np.ndarray) -> str:
    """Return a 2D mask as path data to be filled, one box a run of voxels down axis 1.

    Example:
        >>> area(np.array([[1, 1, 0, 1]], bool))
        'M0 0h1v2h-1zM0 3h1v1h-1z'
    """
    return "".join(f"M{i} {j}h1v{n}h-1z" for i, j, n in _runs(mask))


def _runs(lines: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (line, start, length) of every run of True along axis 1."""
    steps = np.diff(np.pad(lines.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for (line, start), (_, end) in zip(
        np.argwhere(steps == 1).tolist(), np.argwhere(steps == -1).tolist(), strict=True
    ):
        yield line, start, end - start
