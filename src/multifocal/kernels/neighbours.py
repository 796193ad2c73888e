"""Which of a list of neighbours is there."""

import numpy as np

from multifocal.kernels.compiled import compiled


@compiled
def first_hit(there, places, steps):  # type: ignore[no-untyped-def]
    """Return for each place the number of the first step from it that leads to something, -1 if none does.

    `there` is a flat array of booleans; no step may lead out of it.
    """
    hits = np.full(len(places), -1, np.int64)
    for number in range(len(places)):
        place = places[number]
        for step in range(len(steps)):
            if there[place + steps[step]]:
                hits[number] = step
                break
    return hits
