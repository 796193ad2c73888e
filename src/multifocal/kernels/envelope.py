"""One axis of an exact Euclidean distance transform: the lower envelope of parabolas.

Squared distances are separable (Felzenszwalb & Huttenlocher 2012): along one axis after the other
`f(i) <- min_j f(j) + w (i - j)²`. Numbers are signed: each side of a border has its own sign, 0 is on the border. The
nearest voxel of the other side is never beyond one of them, so a line falls into runs of one sign that know nothing
of each other but the zeros at their ends, and one pass serves both sides.

With labels, each place takes that of its minimum, the lowest of those that are equally near. All arithmetic is on
whole numbers that float64 holds (`multifocal.kernels.squares`), so "equally" is exact. That a label wins the
ties at a place is decided pair by pair along each axis, and stays true of the whole: `w (i - j)²` is added to all the
labels of the place j alike.
"""

import numpy as np

from multifocal.kernels.compiled import compiled

TILE = 16  # lines side by side: what a cache line holds


@compiled
def first_signed(masks, field, weight, start, stop):  # type: ignore[no-untyped-def]
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
def first_labels(labels, field, rank, weight, start, stop):  # type: ignore[no-untyped-def]
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
def last_axis(field, labels, rank, weight, start, stop):  # type: ignore[no-untyped-def]
    """Take the last axis into account, in place, in some of the rows of field and labels (or None)."""
    n = field.shape[1]
    heap = np.empty(n + 2, np.int64), np.empty(n + 3, np.int64), np.empty(n + 2), np.empty(n + 2, np.int32)
    for row in range(start, stop):
        _line(field[row], None if labels is None else labels[row], rank, n, weight, heap)


@compiled
def next_axis(field, labels, rank, weight, start, stop):  # type: ignore[no-untyped-def]
    """Take one more axis into account, in place, in some of the tiles of lines.

    field and labels (or None) are (before, n, behind): lines along the middle axis. There are
    `before * ceil(behind / TILE)` tiles.
    """
    _, n, behind = field.shape
    tiles = (behind + TILE - 1) // TILE
    lines, names = np.empty((TILE, n + 1), field.dtype), np.zeros((TILE, n + 1), np.int32)
    heap = np.empty(n + 2, np.int64), np.empty(n + 3, np.int64), np.empty(n + 2), np.empty(n + 2, np.int32)
    for tile in range(start, stop):
        outer, first = tile // tiles, (tile % tiles) * TILE
        count = min(TILE, behind - first)
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
