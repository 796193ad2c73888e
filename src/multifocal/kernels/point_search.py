"""The nearest of some points: looked for in the neighbourhood first, then block by block."""

import numpy as np

from multifocal.kernels.compiled import compiled


@compiled
def first_hit(there, places, steps):  # type: ignore[no-untyped-def]
    """Return for each place the number of the first step from it that leads to something, -1 if none does.

    Args:
        there: a flat array of booleans.
        places: int64 indices into it.
        steps: int64, what to add to a place, one after the other; none may lead out of the array.

    Returns:
        int64, one number a place.

    Example:
        >>> first_hit(np.array([True, False, False, False]), np.array([1, 2]), np.array([1, -1])).tolist()
        [1, -1]
    """
    hits = np.full(len(places), -1, np.int64)
    for number in range(len(places)):
        place = places[number]
        for step in range(len(steps)):
            if there[place + steps[step]]:
                hits[number] = step
                break
    return hits


@compiled
def group_in_blocks(points, edges):  # type: ignore[no-untyped-def]
    """Sort points by the block of a grid that they lie in.

    Args:
        points: (N, 3) int64, one or more.
        edges: int64, three: how long a block is along each axis.

    Returns:
        The points' order; where each block that holds any begins in it, and after the last its end; and the lowest and
        the highest coordinates of each block's points.

    Example:
        >>> points = np.array([[0, 0, 9], [0, 0, 1], [0, 0, 2]])
        >>> [part.tolist() for part in group_in_blocks(points, np.array([4, 4, 4]))]
        [[1, 2, 0], [0, 2, 3], [[0, 0, 1], [0, 0, 9]], [[0, 0, 2], [0, 0, 9]]]
    """
    low, high = points[0].copy(), points[0].copy()
    for point in points:
        for axis in range(3):
            low[axis], high[axis] = min(low[axis], point[axis]), max(high[axis], point[axis])
    counts = (high - low) // edges + 1
    home = np.empty(len(points), np.int64)
    ends = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    for i, point in enumerate(points):
        block = 0
        for axis in range(3):
            block = block * counts[axis] + (point[axis] - low[axis]) // edges[axis]
        home[i] = block
        ends[block + 1] += 1
    ends = np.cumsum(ends)
    held = np.flatnonzero(np.diff(ends))
    firsts = np.append(ends[held], len(points))
    order = np.empty(len(points), np.int64)
    for i in range(len(points)):
        order[ends[home[i]]] = i
        ends[home[i]] += 1
    lows, highs = points[order[firsts[:-1]]], points[order[firsts[:-1]]]
    for block in range(len(held)):
        for i in order[firsts[block] : firsts[block + 1]]:
            for axis in range(3):
                lows[block, axis] = min(lows[block, axis], points[i, axis])
                highs[block, axis] = max(highs[block, axis], points[i, axis])
    return order, firsts, lows, highs


@compiled
def search_blocks(queries, query_blocks, targets, target_blocks, sides):  # type: ignore[no-untyped-def]
    """Return for each query the number of the nearest target; of those equally near, the first.

    Args:
        queries: (N, 3) int64, whole steps along three axes.
        query_blocks: what `group_in_blocks` returns of them.
        targets: (M, 3) int64, one or more.
        target_blocks: what `group_in_blocks` returns of them.
        sides: float64, three: the length of a step along each axis.

    Returns:
        int64, one row of `targets` for each query.

    Example:
        >>> queries, targets, edges = np.array([[0, 0, 4]]), np.array([[0, 0, 0], [0, 0, 9]]), np.array([4, 4, 4])
        >>> blocks = group_in_blocks(queries, edges), group_in_blocks(targets, edges)
        >>> search_blocks(queries, blocks[0], targets, blocks[1], np.ones(3)).tolist()
        [0]
    """
    # Bounds are sums of the same parts in the same order as distances, so rounding puts none of them above a distance
    # that it should be below.
    order, firsts, lows, highs = query_blocks
    target_order, target_firsts, target_lows, target_highs = target_blocks
    sorted_targets = targets[target_order].astype(np.float64)
    a, b, c = sides
    found = np.empty(len(queries), np.int64)
    bounds = np.empty(len(target_lows))
    for block in range(len(lows)):
        # Some target is as near as the least of the largest distances; blocks further off are of no account.
        within = np.inf
        for other in range(len(target_lows)):
            near, far = 0.0, 0.0
            for axis in range(3):
                above = target_highs[other, axis] - lows[block, axis]
                below = highs[block, axis] - target_lows[other, axis]
                near += (max(0, -above, -below) * sides[axis]) ** 2
                far += (max(above, below) * sides[axis]) ** 2
            bounds[other] = near
            within = min(within, far)
        around = np.flatnonzero(bounds <= within)
        around = around[np.argsort(bounds[around])]
        for query in order[firsts[block] : firsts[block + 1]]:
            x, y, z = queries[query].astype(np.float64)
            best, nearest = np.inf, target_order[0]
            for beside in around:
                if bounds[beside] > best:
                    break
                u = max(0.0, target_lows[beside, 0] - x, x - target_highs[beside, 0]) * a
                v = max(0.0, target_lows[beside, 1] - y, y - target_highs[beside, 1]) * b
                w = max(0.0, target_lows[beside, 2] - z, z - target_highs[beside, 2]) * c
                if u * u + v * v + w * w > best:
                    continue
                for i in range(target_firsts[beside], target_firsts[beside + 1]):
                    u = (sorted_targets[i, 0] - x) * a
                    v = (sorted_targets[i, 1] - y) * b
                    w = (sorted_targets[i, 2] - z) * c
                    length = u * u + v * v + w * w
                    if length < best or (length == best and target_order[i] < nearest):
                        best, nearest = length, target_order[i]
            found[query] = nearest
    return found
