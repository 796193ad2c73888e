"""Sums of values by group, and two labelings side by side."""

import numpy as np

from multifocal.kernels.compiled import compiled


@compiled
def add_by(groups, values, sums):  # type: ignore[no-untyped-def]
    """Add each value to the sum of its group, in float64.

    Args:
        groups: whole numbers from 0.
        values: as many numbers.
        sums: float64, one for each group; changed in place.

    Example:
        >>> sums = np.zeros(2)
        >>> add_by(np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0]), sums)
        >>> sums.tolist()
        [1.0, 6.0]
    """
    # Neighbours are mostly of one group: it is kept at hand.
    if len(groups) == 0:
        return
    at, total = groups[0], 0.0
    for i in range(len(groups)):
        if groups[i] != at:
            sums[at] += total
            at, total = groups[i], 0.0
        total += values[i]
    sums[at] += total


@compiled
def sizes_by(groups, sizes):  # type: ignore[no-untyped-def]
    """Count the members of each group.

    Args:
        groups: whole numbers from 0.
        sizes: int64, one for each group, added to in place.

    Example:
        >>> sizes = np.zeros(2, np.int64)
        >>> sizes_by(np.array([0, 1, 1]), sizes)
        >>> sizes.tolist()
        [1, 2]
    """
    for i in range(len(groups)):
        sizes[groups[i]] += 1


@compiled
def union(ours, our_labels, theirs, their_labels):  # type: ignore[no-untyped-def]
    """Return the ascending union of two ascending lists of places, and each place's label on both sides, 0 for none.

    Args:
        ours: int64, ascending.
        our_labels: as many, from 1.
        theirs: int64, ascending.
        their_labels: as many, from 1.

    Returns:
        int64 places, our labels and their labels.

    Example:
        >>> [part.tolist() for part in union(np.array([2, 5]), np.array([1, 1]), np.array([5, 7]), np.array([3, 4]))]
        [[2, 5, 7], [1, 1, 0], [0, 3, 4]]
    """
    most = len(ours) + len(theirs)
    places, left, right = np.empty(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    i, j, count = 0, 0, 0
    while i < len(ours) or j < len(theirs):
        here = j == len(theirs) or (i < len(ours) and ours[i] <= theirs[j])
        there = i == len(ours) or (j < len(theirs) and theirs[j] <= ours[i])
        places[count] = ours[i] if here else theirs[j]
        if here:
            left[count] = our_labels[i]
            i += 1
        if there:
            right[count] = their_labels[j]
            j += 1
        count += 1
    return places[:count], left[:count], right[:count]
