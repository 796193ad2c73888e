"""Strata of cases by how much of the brain is lesion."""

import math
from typing import Literal, get_args

Stratum = Literal["no lesion", "<1 %", "1-5 %", ">5 %"]
STRATA: tuple[Stratum, ...] = get_args(Stratum)


def stratum(share: float) -> Stratum:
    """Return the stratum of a lesion's share of the brain (a fraction: 0.01 is 1 %; 1 % and 5 % belong to the middle).

    Raises:
        ValueError: the share is negative or not finite.

    Example:
        >>> stratum(0.0), stratum(0.002), stratum(0.03), stratum(0.5)
        ('no lesion', '<1 %', '1-5 %', '>5 %')
    """
    if not math.isfinite(share) or share < 0:
        raise ValueError(f"share is {share}; expected a fraction of the brain, 0 or more")
    if share == 0:
        return "no lesion"
    if share < 0.01:
        return "<1 %"
    return "1-5 %" if share <= 0.05 else ">5 %"
