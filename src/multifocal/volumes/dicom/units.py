"""In which unit an ADC map is: what its header says, held against what brains are, or the values alone."""

import re
from collections.abc import Sequence

import numpy as np

from multifocal.errors import UserError

TISSUE = (3e-4, 3.5e-3)
"""Where the median of an ADC map's middle lies, in mm²/s: white matter of adults is at 0.7e-3, a neonate's brain at
1.2e-3 (0.5e-3 where it is dying), free water at body temperature at 3e-3."""

_SQUARES = {"km2": 1e12, "m2": 1e6, "cm2": 1e2, "mm2": 1.0, "um2": 1e-6}
_TIMES = {"s": 1.0, "sec": 1.0, "ms": 1e-3}
_CODE = re.compile(
    r"(?:1[x.*·])?(?:(?:10\*?\^?\(?(?P<power>[+-]?\d+)\)?|(?:1(?:\.0)?e)(?P<e>[+-]?\d+))[x.*/·]?)?"
    r"(?P<square>(?:m|c|u)?m2)/(?P<time>s|sec|ms)"
)
_GUESSES = {1e-6: "1e-6 mm²/s", 1e-3: "1e-3 mm²/s", 1.0: "mm²/s"}


def factor_of(code: str) -> float | None:
    """Return how many mm²/s one of a unit is; None where the unit is not of a diffusivity.

    Args:
        code: UCUM ("um2/s", "10*-6.mm2/s") or the text that scanners write ("10^-6 mm²/s", "1E-3 mm^2/s").

    Returns:
        The factor.

    Example:
        >>> factor_of("um2/ms"), factor_of("10*-6.mm2/s"), factor_of("1"), factor_of("10^-3 mm^2/s")
        (0.001, 1e-06, None, 0.001)
    """
    text = code.strip().lower().replace(" ", "").replace("²", "2").replace("µ", "u").replace("μ", "u")
    found = _CODE.fullmatch(re.sub(r"m\^2|m\*\*2", "m2", text))
    if not found:
        return None
    power = int(found["power"] or found["e"] or 0)
    # 10 ** -6 is not 1e-6 to the last digit, as 1e-6 / 1e-3 is not 1e-3.
    return float(f"{_SQUARES[found['square']] / _TIMES[found['time']]:g}") * float(f"1e{power}")


def settle(values: np.ndarray, unit: str, stated: float | None, *, mapped: bool, where: str) -> tuple[float, str]:
    """Return the unit of an ADC map, from what the user says, else its header, else its values.

    Args:
        values: (columns, rows, slices), slope and intercept applied.
        unit: code of the unit in the header, "" where there is none.
        stated: what the user says it is, in mm²/s; None for nothing.
        mapped: whether the file had a slope, for the message.
        where: what the user calls the scan, for messages.

    Returns:
        The unit in mm²/s, and how it was found.

    Raises:
        UserError: the map is empty, its values fit no unit, or not the one in its header.
    """
    median = _middle(values)
    if not median:
        raise UserError(f"{where}: the ADC map is empty in its middle; give the series of the head")
    if stated is not None:
        if not np.isfinite(stated) or stated <= 0:
            raise UserError(f"{where}: unit={stated:g} is not a diffusivity; give mm²/s for one, such as 1e-6")
        return stated, f"{stated:g} mm²/s, as stated"
    tells = f"the median of its middle is {median:.4g}"
    factor = factor_of(unit)
    if factor is not None:
        if not TISSUE[0] <= median * factor <= TISSUE[1]:
            raise UserError(
                f"{where}: its header says {unit}, but {tells}, which no brain has in it; state the unit (unit=1e-6)"
            )
        return factor, f"{factor:g} mm²/s, from its header ({unit})"
    fits = [guess for guess in _GUESSES if TISSUE[0] <= median * guess <= TISSUE[1]]
    if not fits:
        without = "" if mapped else "it has no rescale slope, "
        raise UserError(
            f"{where}: {without}no unit in its header, and {tells}, which is ADC in none of "
            f"{', '.join(_GUESSES.values())}; export it with its slope, or state the unit (unit=1e-6)"
        )
    return fits[0], f"{_GUESSES[fits[0]]}, from its values ({tells})"


def one_unit(units: Sequence[str], where: str) -> str:
    """Return the unit that all slices have.

    Args:
        units: code of each slice.
        where: what the user calls the scan, for messages.

    Returns:
        The code.

    Raises:
        UserError: there are several.
    """
    if len(found := sorted(set(units))) > 1:
        raise UserError(f"{where}: its slices are in several units ({', '.join(found)}); export the series again")
    return found[0]


def _middle(values: np.ndarray) -> float:
    """Return the median of what is above 0 in the middle half of each axis, where there is brain and no air."""
    box = values[tuple(slice(n // 4, n - n // 4) for n in values.shape)]
    tissue = box[np.isfinite(box) & (box > 0)]
    return float(np.median(tissue)) if tissue.size else 0.0
