"""How well a scan fits an atlas: four numbers, and what they say against the Z-ADC that was made by it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from multifocal.normative.atlas import Atlas
from multifocal.volumes import Volume, pad
from multifocal.volumes.registration import Registration

_MARGIN = 5  # voxels around the scan, so that an atlas that reaches beyond it is seen
# Least and greatest value that is not odd, and what may be wrong: between good scans and spoiled ones, docs/scan.md.
LIMITS: dict[str, tuple[float, float, str]] = {
    "correlation": (0.5, 1.0, "turned round, not stripped of its skull, or another kind of scan"),
    "overlap": (0.945, 1.0, "turned round, or a part of the brain is missing"),
    "volume": (0.5, 1.6, "cut off where it is low; of another age, or in its skull, where it is high"),
    "upper": (0.8, 4.5, "tissue of another age than the atlas's, another scanner, or not stripped of its skull"),
}


@dataclass(frozen=True)
class AtlasFit:
    """How well a scan fits the atlas that its Z-ADC was made by.

    Args:
        correlation: of ADC with μ where both have brain, voxels that the registration leaves out for lesions not among
            them.
        overlap: Dice of the two brains, registered.
        volume: of the scan's brain over that of the atlas's, before they are registered.
        upper: 95th percentile of Z-ADC in the brain: tissue that even a large lesion leaves.

    Example:
        >>> AtlasFit(correlation=0.7, overlap=0.96, volume=0.3, upper=2.0).doubts[0].partition(" (")[0]
        "the brain's volume over the atlas's 0.3 is below 0.5"
    """

    correlation: float
    overlap: float
    volume: float
    upper: float

    @property
    def doubts(self) -> tuple[str, ...]:
        """Return a line for each number that is odd."""
        found = []
        for name, (low, high, reason) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN is odd, too
                where = f"above {high:g}" if value > high else f"below {low:g}"
                found.append(f"{_NAMES[name]} {value:.3g} is {where} ({reason})")
        return tuple(found)

    @property
    def line(self) -> str:
        """Return the four numbers in a line."""
        return ", ".join(f"{text} {getattr(self, name):.3g}" for name, text in _NAMES.items())

    def as_json(self) -> dict[str, Any]:
        """Return the numbers and what is odd as JSON holds them."""
        numbers = {name: round(value, 4) if np.isfinite(value) else None for name, value in asdict(self).items()}
        return {**numbers, "doubts": list(self.doubts)}


_NAMES = {
    "correlation": "correlation with the atlas",
    "overlap": "overlap of the brains",
    "volume": "the brain's volume over the atlas's",
    "upper": "the 95th percentile of Z-ADC",
}


def measure_fit(fixed: Volume, atlas: Atlas, found: Registration, z: np.ndarray, *, lesion_below: float) -> AtlasFit:
    """Return how well a scan fits an atlas.

    Args:
        fixed: smoothed ADC at the atlas's spacing, 0 outside the brain, `(X, Y, Z)`.
        atlas: the atlas.
        found: where the points of the scan lie in it.
        z: Z-ADC of the brain's voxels, `(n,)`.
        lesion_below: ADC below which a voxel was left out of the registration.

    Returns:
        The numbers.
    """
    scan = pad(fixed, lower=(_MARGIN,) * 3, upper=(_MARGIN,) * 3)
    brain = scan.array != 0
    inside, total = (
        found.pull(Volume(each.astype(np.float32), atlas.mean.geometry), scan.geometry).array
        for each in (atlas.brain, atlas.mean.array)
    )
    there = inside >= 0.5
    both = brain & there & (scan.array >= lesion_below)
    mean = total[both] / inside[both]
    same = 2 * np.count_nonzero(brain & there) / (np.count_nonzero(brain) + np.count_nonzero(there))
    own, other = (
        np.count_nonzero(where) * grid.voxel_ml
        for where, grid in ((brain, scan.geometry), (atlas.brain, atlas.mean.geometry))
    )
    varied = both.any() and np.ptp(mean) > 0 and np.ptp(scan.array[both]) > 0
    return AtlasFit(
        correlation=float(np.corrcoef(scan.array[both], mean)[0, 1]) if varied else 0.0,
        overlap=float(same),
        volume=float(own / other),
        upper=float(np.percentile(z, 95)),
    )
