"""What sizes and lengths are called: a 2D image has pixels and an area where a scan has millilitres of a brain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multifocal.metrics.metric import Metric
from multifocal.volumes import Geometry


@dataclass(frozen=True)
class Wording:
    """The words and units of one kind of cohort, and how its volumes in files (ml) become what is shown.

    Attributes:
        whole: what lesions have a share of.
        size: what kind of size a lesion has.
        unit: of that size.
        per_ml: how many of the unit are a millilitre; a pixel counts as 1 mm thick.
        length: the unit of distances.

    Example:
        >>> VOLUMES.bin("0.05-0.10"), IMAGES.bin("0.05-0.10"), IMAGES.bin(">=1")
        ('0.05-0.10', '50-100', '>=1000')
    """

    whole: str
    size: str
    unit: str
    per_ml: int
    length: str

    def bin(self, name: str) -> str:
        """Return a bin of volumes, which files name in ml, in the unit that is shown.

        Args:
            name: of `VOLUME_BINS`.

        Returns:
            The text.
        """
        if self.per_ml == 1:
            return name
        digits = name.lstrip("<>=")
        ends = "-".join(f"{float(end) * self.per_ml:g}" for end in digits.split("-"))
        return f"{name[: len(name) - len(digits)]}{ends}"

    def name(self, metric: Metric) -> str:
        """Return a metric's heading without its unit.

        Args:
            metric: the metric.

        Returns:
            The text.
        """
        return metric.heading.replace("volume", self.size)

    def heading(self, metric: Metric) -> str:
        """Return a metric's heading with its unit; bars stand for absolute values, where zero is best.

        Args:
            metric: the metric.

        Returns:
            The text.
        """
        text = f"|{self.name(metric)}|" if metric.best == "zero" else self.name(metric)
        unit = {"mm": self.length, "ml": self.unit}.get(metric.unit, metric.unit)
        return text if unit == "1" else f"{text} ({unit})"

    def factor(self, unit: str) -> int:
        """Return what a number in that unit is multiplied with to be shown.

        Args:
            unit: "1", "mm" or "ml".

        Returns:
            1, or `per_ml`.
        """
        return self.per_ml if unit == "ml" else 1


VOLUMES = Wording("brain", "volume", "ml", 1, "mm")
IMAGES = Wording("image", "area", "pixels", 1000, "pixels")
SPACED = Wording("image", "area", "mm²", 1000, "mm")  # a 2D image that says how large its pixels are


def wording(grid: Geometry) -> Wording:
    """Return the words for a grid.

    Args:
        grid: of one case of the cohort.

    Returns:
        `VOLUMES` for 3D, `IMAGES` for 2D without a spacing (1), else `SPACED`.

    Example:
        >>> wording(Geometry((4, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))).unit
        'pixels'
    """
    if grid.ndim == 3:
        return VOLUMES
    return IMAGES if set(grid.spacing) == {1.0} else SPACED


def recorded_wording(summary: Mapping[str, Any]) -> Wording:
    """Return the words that a summary was written with.

    Args:
        summary: of an evaluation; it has `size_unit` where that is not ml.

    Returns:
        One of the three; `VOLUMES` for a summary that is older than the key.

    Example:
        >>> recorded_wording({"size_unit": "pixels"}).whole, recorded_wording({}).whole
        ('image', 'brain')
    """
    return next((words for words in (IMAGES, SPACED) if words.unit == summary.get("size_unit")), VOLUMES)
