"""Squared spacing in units that make sums of squared steps exact."""

import math
from collections.abc import Sequence

_BITS = 52  # float64 holds whole numbers up to 2^53


def whole_squares(shape: Sequence[int], spacing: Sequence[float] | None) -> list[float]:
    """Return the squared spacing as whole numbers in a common unit.

    Ratios are those of the squared spacing to about ten digits, and exact where all sides are equal. The squared
    diagonal of the image is a whole number that float64 holds, too.

    Example:
        >>> whole_squares((4, 4), (2.0, 2.0)), whole_squares((4, 4), (1.0, 2.0))[1] == 2.0**47
        ([1.0, 1.0], True)
    """
    if spacing is None or len(set(spacing)) == 1:
        return [1.0] * len(shape)
    room = 2.0 ** (_BITS - math.ceil(math.log2(sum(side**2 for side in shape))))
    largest = max(spacing)
    return [float(max(1, round((side / largest) ** 2 * room))) for side in spacing]
