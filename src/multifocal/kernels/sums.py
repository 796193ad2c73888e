"""Sums of values by group."""

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
