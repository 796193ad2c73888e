"""Every case-level metric: its unit, where it is best, when it is undefined. Tables, summaries and files go by it."""

from dataclasses import dataclass
from typing import Literal

Best = Literal["highest", "lowest", "zero"]
_ONE_EMPTY = "exactly one of the masks is empty"


@dataclass(frozen=True)
class Metric:
    """What one number of a case means.

    `best` is None for a plain measurement; `is_distance` marks distances in mm, for which the image's diagonal can
    stand where they are undefined (`undefined_when`).

    Example:
        >>> METRICS["masd"].unit, METRICS["masd"].best
        ('mm', 'lowest')
    """

    name: str
    heading: str
    unit: Literal["1", "mm", "ml"]
    best: Best | None
    undefined_when: str | None = None
    is_distance: bool = False


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", "1", "highest"),
        Metric("masd", "MASD", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("nsd", "NSD", "1", "highest"),
        Metric("volume_difference", "volume difference", "ml", "zero"),
        Metric("relative_volume_difference", "relative volume difference", "1", "zero", "only the target is empty"),
        Metric("hd95", "HD95", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("assd", "ASSD", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("sensitivity", "sensitivity", "1", "highest", "only the target is empty"),
        Metric("precision", "precision", "1", "highest", "only the prediction is empty"),
        Metric("specificity", "specificity", "1", "highest", "the target fills the image"),
        Metric("predicted_ml", "predicted volume", "ml", None),
        Metric("true_ml", "true volume", "ml", None),
    )
}
