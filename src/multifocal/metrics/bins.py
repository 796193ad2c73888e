"""Lesions by volume: how many of each size are found."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WIDTH_ML = 0.05
COUNT = 20  # up to 1 ml
VOLUME_BINS = (
    "<0.05",
    *(f"{WIDTH_ML * number:.2f}-{WIDTH_ML * (number + 1):.2f}" for number in range(1, COUNT)),
    ">=1",
)


def volume_bin(volume_ml: float) -> str:
    """Return the bin of a lesion's volume in ml: 20 of 0.05 ml up to 1 ml, and above (seed 004, figures 8 and 12).

    A volume on the border of two bins belongs to the upper one.

    Raises:
        ValueError: the volume is not positive and finite.

    Example:
        >>> volume_bin(0.008), volume_bin(0.05), volume_bin(0.37), volume_bin(12.0)
        ('<0.05', '0.05-0.10', '0.35-0.40', '>=1')
    """
    if not (math.isfinite(volume_ml) and volume_ml > 0):
        raise ValueError(f"volume is {volume_ml}; expected positive, finite ml")
    # Volumes are products of spacings: 3 voxels of 0.05 ml must not fall short of 0.15 ml by a rounding.
    return VOLUME_BINS[min(int(volume_ml / WIDTH_ML + 1e-9), COUNT)]


def summarize_bins(lesions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count the lesions of all cases together, by volume.

    Args:
        lesions: one mapping a lesion with `kind`, `bin`, `matched` and `dice`, as in `Results.lesions`.

    Returns:
        For each bin with a lesion, in the order of `VOLUME_BINS`: `true` lesions, how many of them are `found`, the
        detection `rate` of found to true, the mean `dice` of the true ones (0 where missed), and `false` lesions. A
        rate or mean of no lesions is None.

    Example:
        >>> rows = [{"kind": "true", "bin": "<0.05", "matched": 1, "dice": 0.5}]
        >>> summarize_bins(rows)
        {'<0.05': {'true': 1, 'found': 1, 'rate': 1.0, 'dice': 0.5, 'false': 0}}
    """
    groups: dict[str, list[Mapping[str, Any]]] = {name: [] for name in VOLUME_BINS}
    for lesion in lesions:
        groups[lesion["bin"]].append(lesion)
    return {name: _group(members) for name, members in groups.items() if members}


def _group(lesions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    true = [lesion for lesion in lesions if lesion["kind"] == "true"]
    found = sum(int(lesion["matched"]) for lesion in true)
    return {
        "true": len(true),
        "found": found,
        "rate": found / len(true) if true else None,
        "dice": float(np.mean([lesion["dice"] for lesion in true])) if true else None,
        "false": len(lesions) - len(true),
    }
