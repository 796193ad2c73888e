"""The nearest of some points, searched block by block."""

import numpy as np

from multifocal.kernels.compiled import compiled


@compiled
def group(points, edges):  # type: ignore[no-untyped-def]
    """Sort points by the block of a grid that they lie in.

    Returns the points' order; where each block that holds any begins in it, and after the last its end; and the lowest
    and the highest coordinates of each block's points.
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
def search(starts, start_blocks, goals, goal_blocks, sides):  # type: ignore[no-untyped-def]
    """Return for each start the number of the nearest goal; of those equally near, the first.

    Points are whole steps along three axes of lengths `sides`, their blocks what `group` returns. Bounds are sums of
    the same parts in the same order as distances, so rounding puts none of them above a distance it should be below.
    """
    order, firsts, lows, highs = start_blocks
    goal_order, goal_firsts, goal_lows, goal_highs = goal_blocks
    sorted_goals = goals[goal_order].astype(np.float64)
    a, b, c = sides
    found = np.empty(len(starts), np.int64)
    bounds = np.empty(len(goal_lows))
    for block in range(len(lows)):
        # Some goal is as near as the least of the largest distances; blocks further off are of no account.
        within = np.inf
        for other in range(len(goal_lows)):
            near, far = 0.0, 0.0
            for axis in range(3):
                above, below = goal_highs[other, axis] - lows[block, axis], highs[block, axis] - goal_lows[other, axis]
                near += (max(0, -above, -below) * sides[axis]) ** 2
                far += (max(above, below) * sides[axis]) ** 2
            bounds[other] = near
            within = min(within, far)
        around = np.flatnonzero(bounds <= within)
        around = around[np.argsort(bounds[around])]
        for start in order[firsts[block] : firsts[block + 1]]:
            x, y, z = starts[start].astype(np.float64)
            best, nearest = np.inf, goal_order[0]
            for beside in around:
                if bounds[beside] > best:
                    break
                u = max(0.0, goal_lows[beside, 0] - x, x - goal_highs[beside, 0]) * a
                v = max(0.0, goal_lows[beside, 1] - y, y - goal_highs[beside, 1]) * b
                w = max(0.0, goal_lows[beside, 2] - z, z - goal_highs[beside, 2]) * c
                if u * u + v * v + w * w > best:
                    continue
                for i in range(goal_firsts[beside], goal_firsts[beside + 1]):
                    u, v, w = (sorted_goals[i, 0] - x) * a, (sorted_goals[i, 1] - y) * b, (sorted_goals[i, 2] - z) * c
                    length = u * u + v * v + w * w
                    if length < best or (length == best and goal_order[i] < nearest):
                        best, nearest = length, goal_order[i]
            found[start] = nearest
    return found
