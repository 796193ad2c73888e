"""Sums of values by group, and two labelings side by side."""

import numpy as np

from multifocal.kernels.compiled import compiled


@compiled
def add_by(groups, values, sums):  # type: ignore[no-untyped-def]
    """Add each value to the sum of its group, in float64. Neighbours are mostly of one group: it is kept at hand."""
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
    """Count the members of each group."""
    for i in range(len(groups)):
        sizes[groups[i]] += 1


@compiled
def union(ours, our_labels, theirs, their_labels):  # type: ignore[no-untyped-def]
    """Return the ascending union of two ascending lists of places, and each place's label on both sides, 0 for none."""
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
