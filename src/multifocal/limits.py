"""Measured lengths and volumes against a limit, where a file may have kept the spacing in single precision."""

from typing import overload

import numpy as np

SLACK = 5e-7
"""How far beyond a limit, as a share of it, a measure still counts as on it.

NIfTI keeps spacings in float32: 0.4 mm reads as 0.4000000059, and five planes are no longer 2 mm apart. A product of
three such sides is off by up to 2e-7."""


@overload
def at_most(measured: float, limit: float) -> bool: ...


@overload
def at_most(measured: np.ndarray, limit: float) -> np.ndarray: ...


def at_most(measured: float | np.ndarray, limit: float) -> bool | np.ndarray:
    """Tell whether a length or volume is no more than a limit; one that is the limit but for rounding is not.

    Args:
        measured: a number, or an array of them, 0 or more.
        limit: in the same unit.

    Returns:
        A boolean, or an array of them.

    Example:
        >>> planes = 5 * float(np.float32(0.4))
        >>> planes <= 2.0, at_most(planes, 2.0), at_most(2.001, 2.0)
        (False, True, False)
    """
    return measured <= limit * (1 + SLACK)


@overload
def at_least(measured: float, limit: float) -> bool: ...


@overload
def at_least(measured: np.ndarray, limit: float) -> np.ndarray: ...


def at_least(measured: float | np.ndarray, limit: float) -> bool | np.ndarray:
    """Tell whether a length or volume is no less than a limit; one that is the limit but for rounding is not.

    Args:
        measured: a number, or an array of them, 0 or more.
        limit: in the same unit.

    Returns:
        A boolean, or an array of them.

    Example:
        >>> 3 * 0.05 >= 0.15, 3 * 0.0499999999 >= 0.15, at_least(3 * 0.0499999999, 0.15)
        (True, False, True)
    """
    return measured >= limit * (1 - SLACK)
