"""Exact Euclidean distance transforms of a stack of images, axis by axis: the lower envelope of parabolas.

Squared distances are separable (Felzenszwalb & Huttenlocher 2012): along one axis after the other
`f(i) <- min_j f(j) + w (i - j)²`. Numbers are signed: each side of a border has its own sign, 0 is on the border. The
nearest voxel of the other side is never beyond one of them, so a line falls into runs of one sign that know nothing
of each other but the zeros at their ends, and one pass serves both sides.

With labels, each place takes that of its minimum, the lowest of those that are equally near. All arithmetic is on
whole numbers that float64 holds (`whole_squares`), so "equally" is exact. That a label wins the ties at a place is
decided pair by pair along each axis, and stays true of the whole: `w (i - j)²` is added to all the labels of the place
j alike.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from multifocal.kernels.compiled import compiled, parallel_for

_LEAST = 1 << 18  # voxels that are worth a thread
_BITS = 52  # float64 holds whole numbers up to 2^53
_TILE = 16  # lines side by side: what a cache line holds


def signed_squares(masks: np.ndarray, *, spacing: Sequence[float] | None, threads: int) -> np.ndarray:
    """Return for each voxel the squared distance to the other side of its mask's border, negative inside.

    Args:
        masks: boolean, (images, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        threads: how many to use.

    Returns:
        float32 of the masks' shape, infinite in images without a border.

    Source:
        Felzenszwalb & Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 2012.

    Example:
        >>> signed_squares(np.array([[[True, True, False]]]), spacing=None, threads=1).tolist()
        [[[-4.0, -1.0, 1.0]]]
    """
    field = np.empty(masks.shape, np.float32)
    squares = [float(side) ** 2 for side in spacing or (1.0,) * (masks.ndim - 1)]
    planes = _along(np.ascontiguousarray(masks), -2)
    out = field.reshape(planes.shape)
    _over_first_axis(lambda a, b: _first_signed(planes, out, squares[-2], a, b), planes, threads)
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

    Example:
        >>> labels = np.array([[[0, -1, -1, -1, 1]]], np.int32)
        >>> spread_labels(labels, rank=None, spacing=None, threads=1)
        >>> labels.tolist()
        [[[0, 0, 0, 1, 1]]]
    """
    field = np.empty(labels.shape)
    units = whole_squares(labels.shape[1:], spacing)
    planes, out = _along(labels, -2), _along(field, -2)
    _over_first_axis(lambda a, b: _first_labels(planes, out, rank, units[-2], a, b), planes, threads)
    _other_axes(field, labels, rank, units, threads)


def whole_squares(shape: Sequence[int], spacing: Sequence[float] | None) -> list[float]:
    """Return the squared spacing as whole numbers in a common unit.

    Ratios are those of the squared spacing to about ten digits, and exact where all sides are equal. The squared
    diagonal of the image is a whole number that float64 holds, too.

    Args:
        shape: of the image, in voxels.
        spacing: mm per voxel along each axis; None counts in voxels.

    Returns:
        For each axis a whole number, as float.

    Example:
        >>> whole_squares((4, 4), (2.0, 2.0)), whole_squares((4, 4), (1.0, 2.0))[1] == 2.0**47
        ([1.0, 1.0], True)
    """
    if spacing is None or len(set(spacing)) == 1:
        return [1.0] * len(shape)
    room = 2.0 ** (_BITS - math.ceil(math.log2(sum(side**2 for side in shape))))
    largest = max(spacing)
    return [float(max(1, round((side / largest) ** 2 * room))) for side in spacing]


def _other_axes(
    field: np.ndarray, labels: np.ndarray | None, rank: np.ndarray | None, squares: Sequence[float], threads: int
) -> None:
    """Take all axes but the last but one into account."""
    rows = field.reshape(-1, field.shape[-1])
    names = None if labels is None else labels.reshape(rows.shape)
    _over_first_axis(lambda a, b: _last_axis(rows, names, rank, squares[-1], a, b), rows, threads)
    if field.ndim == 4 and field.shape[1] > 1:
        lines, owners = _along(field, 1), None if labels is None else _along(labels, 1)
        tiles = lines.shape[0] * -(-lines.shape[2] // _TILE)

        def work(start: int, stop: int) -> None:
            _next_axis(lines, owners, rank, squares[0], start, stop)

        parallel_for(work, tiles, threads=threads, least=max(1, _LEAST // (lines.shape[1] * _TILE)))


def _along(array: np.ndarray, axis: int) -> np.ndarray:
    """Return an array as (before, n, behind), to look along an axis."""
    axis %= array.ndim
    before, behind = math.prod(array.shape[:axis]), math.prod(array.shape[axis + 1 :])
    return array.reshape(before, array.shape[axis], behind)


def _over_first_axis(work: Callable[[int, int], None], array: np.ndarray, threads: int) -> None:
    """Share out the first axis of an array."""
    parallel_for(work, len(array), threads=threads, least=max(1, _LEAST // array[0].size))


@compiled
def _first_signed(masks, field, weight, start, stop):  # type: ignore[no-untyped-def]
    """Write along the middle axis how far the other side is: squared, negative inside; infinite if nowhere.

    masks and field are (before, n, behind); neighbours along the last axis are worked on together.
    """
    _, n, behind = masks.shape
    back = np.empty(behind, field.dtype)
    for outer in range(start, stop):
        mask, out = masks[outer], field[outer]
        out[0] = np.inf
        for i in range(1, n):
            for k in range(behind):
                out[i, k] = out[i - 1, k] + 1 if mask[i, k] == mask[i - 1, k] else 1
        back[:] = np.inf
        for i in range(n - 1, -1, -1):
            if i < n - 1:
                for k in range(behind):
                    back[k] = back[k] + 1 if mask[i, k] == mask[i + 1, k] else 1
            for k in range(behind):
                nearest = min(out[i, k], back[k])
                out[i, k] = (-weight if mask[i, k] else weight) * nearest * nearest


@compiled
def _first_labels(labels, field, rank, weight, start, stop):  # type: ignore[no-untyped-def]
    """Write along the middle axis how far the nearest label is, squared, and in place of -1 which one that is."""
    _, n, behind = labels.shape
    back, name = np.empty(behind), np.empty(behind, np.int32)
    for outer in range(start, stop):
        names, out = labels[outer], field[outer]
        for k in range(behind):
            out[0, k] = 0 if names[0, k] >= 0 else np.inf
        for i in range(1, n):
            for k in range(behind):
                own = names[i, k] >= 0
                out[i, k] = 0 if own else out[i - 1, k] + 1
                names[i, k] = names[i, k] if own else names[i - 1, k]
        back[:], name[:] = np.inf, -1
        for i in range(n - 1, -1, -1):
            for k in range(behind):
                own = out[i, k] == 0
                back[k] = 0 if own else back[k] + 1
                name[k] = names[i, k] if own else name[k]
                nearer = back[k] < out[i, k]
                out[i, k] = back[k] if nearer else out[i, k]
                names[i, k] = name[k] if nearer else names[i, k]
            for k in range(behind):
                if back[k] == out[i, k] and name[k] != names[i, k] and _wins(name[k], names[i, k], rank):
                    names[i, k] = name[k]
            for k in range(behind):
                out[i, k] = weight * out[i, k] * out[i, k]


@compiled
def _wins(one, other, rank):  # type: ignore[no-untyped-def]
    """Return whether a label wins a tie against another."""
    if rank is None:
        return one < other
    return rank[one] < rank[other]


@compiled
def _last_axis(field, labels, rank, weight, start, stop):  # type: ignore[no-untyped-def]
    """Take the last axis into account, in place, in some of the rows of field and labels (or None)."""
    n = field.shape[1]
    heap = np.empty(n + 2, np.int64), np.empty(n + 3, np.int64), np.empty(n + 2), np.empty(n + 2, np.int32)
    for row in range(start, stop):
        _line(field[row], None if labels is None else labels[row], rank, n, weight, heap)


@compiled
def _next_axis(field, labels, rank, weight, start, stop):  # type: ignore[no-untyped-def]
    """Take one more axis into account, in place, in some of the tiles of lines.

    field and labels (or None) are (before, n, behind): lines along the middle axis. There are
    `before * ceil(behind / _TILE)` tiles.
    """
    _, n, behind = field.shape
    tiles = (behind + _TILE - 1) // _TILE
    lines, names = np.empty((_TILE, n + 1), field.dtype), np.zeros((_TILE, n + 1), np.int32)
    heap = np.empty(n + 2, np.int64), np.empty(n + 3, np.int64), np.empty(n + 2), np.empty(n + 2, np.int32)
    for tile in range(start, stop):
        outer, first = tile // tiles, (tile % tiles) * _TILE
        count = min(_TILE, behind - first)
        for i in range(n):
            for line in range(count):
                lines[line, i] = field[outer, i, first + line]
                if labels is not None:
                    names[line, i] = labels[outer, i, first + line]
        for line in range(count):
            _line(lines[line], None if labels is None else names[line], rank, n, weight, heap)
        for i in range(n):
            for line in range(count):
                field[outer, i, first + line] = lines[line, i]
                if labels is not None:
                    labels[outer, i, first + line] = names[line, i]


@compiled
def _line(f, names, rank, n, weight, heap):  # type: ignore[no-untyped-def]
    """Transform one line, run by run."""
    a = 0
    while a < n:
        if f[a] == 0:
            a += 1
            continue
        negative = f[a] < 0
        b = a + 1
        while b < n and f[b] != 0 and (f[b] < 0) == negative:
            b += 1
        _run(f, names, rank, n, a, b, weight, heap)
        a = b


@compiled
def _run(f, names, rank, n, a, b, weight, heap):  # type: ignore[no-untyped-def]
    """Transform the places from a to b, all on one side of the border."""
    places, starts, heights, owners = heap
    top = -1
    for q in range(max(a - 1, 0), min(b + 1, n)):
        height = abs(float(f[q])) if a <= q < b else 0.0
        if height == np.inf:
            continue
        begin = a
        while top >= 0:
            # The first place from which on q is nearer than p.
            p = places[top]
            crossing = (height - heights[top]) / (2 * weight * (q - p)) + 0.5 * (q + p)
            begin = int(np.ceil(crossing))
            if begin == crossing and (names is None or not _wins(names[q], owners[top], rank)):
                begin += 1
            if begin > starts[top]:
                break
            top -= 1
            begin = a
        if begin < b:
            top += 1
            places[top], heights[top], starts[top] = q, height, begin
            if names is not None:
                owners[top] = names[q]
    sign = -1.0 if f[a] < 0 else 1.0
    starts[top + 1] = b
    for k in range(top + 1):
        p, height = places[k], heights[k]
        for i in range(starts[k], starts[k + 1]):
            f[i] = sign * (height + weight * (i - p) * (i - p))
            if names is not None:
                names[i] = owners[k]
