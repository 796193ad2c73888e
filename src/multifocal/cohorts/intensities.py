"""What the values of an image tell: is it empty, constant, broken, in another unit than its map's?"""

from collections.abc import Iterator

import numpy as np

from multifocal.cohorts.problems import Severity
from multifocal.cohorts.shares import brain_mask

# Median ADC of a living brain in 1e-6 mm²/s: neonatal white matter reaches 2000, severe injury stays above 300.
ADC_MEDIAN = (300.0, 4000.0)
_ADC_UNITS = {"1e-3 mm²/s": 1e3, "mm²/s": 1e6}
# BONBID-HIE clips Z-ADC to ±10; interpolation may overshoot a little.
ZADC_LIMIT = 10.5

Complaint = tuple[Severity, str]


def image_complaints(name: str, array: np.ndarray) -> Iterator[Complaint]:
    """Yield what is wrong with the values of one map: "adc" and "zadc" are also held to their units."""
    broken = array.size - int(np.count_nonzero(np.isfinite(array)))
    if broken:
        yield "error", f"{broken} voxels are NaN or infinite; replace the image"
    brain = array[brain_mask(array)]
    if brain.size == 0:
        yield "error", "empty brain: every voxel is 0; replace the image"
    elif brain.min() == brain.max():
        yield "error", f"constant image: every voxel that is not 0 is {brain.flat[0]:g}; replace the image"
    elif name == "adc":
        yield from _adc_complaints(brain)
    elif name == "zadc":
        yield from _zadc_complaints(brain)


def label_complaints(array: np.ndarray, *, instances: bool) -> Iterator[Complaint]:
    """Yield what is wrong with the values of a label: binary masks hold 0 and 1, label maps 0, 1, 2, ..."""
    if not np.isfinite(array).all():
        yield "error", "the label holds NaN or infinite values; replace it"
        return
    values = np.unique(array)
    wrong = values[(values < 0) | (values != np.round(values))] if instances else values[(values != 0) & (values != 1)]
    if wrong.size:
        listed = ", ".join(f"{value:g}" for value in wrong[:5]) + (", ..." if wrong.size > 5 else "")
        expected = "whole numbers from 0" if instances else "only 0 and 1 (a binary label)"
        yield "error", f"the label holds {listed}; expected {expected}"


def _adc_complaints(brain: np.ndarray) -> Iterator[Complaint]:
    median = float(np.median(brain))
    low, high = ADC_MEDIAN
    if not low <= median <= high:
        guess = next((unit for unit, factor in _ADC_UNITS.items() if low <= median * factor <= high), None)
        cure = f"it looks like {guess}: multiply it by {_ADC_UNITS[guess]:g}" if guess else "convert it"
        yield "error", f"brain median {median:.3g}; ADC is expected in 1e-6 mm²/s ({low:g} to {high:g}); {cure}"
    negative = int(np.count_nonzero(brain < 0))
    if negative:
        yield "warning", f"{negative} voxels are negative (down to {brain.min():g}): noise, or a wrong sign"


def _zadc_complaints(brain: np.ndarray) -> Iterator[Complaint]:
    if brain.min() < -ZADC_LIMIT or brain.max() > ZADC_LIMIT:
        yield "warning", f"values from {brain.min():g} to {brain.max():g}; Z-ADC is expected clipped to ±10"
    if brain.min() >= 0 or brain.max() <= 0:
        sign = "negative" if brain.min() >= 0 else "positive"
        yield "warning", f"no voxel is {sign}; a Z-score has both signs"
