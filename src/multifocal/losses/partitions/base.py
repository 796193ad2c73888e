"""What a partition is, and how its sums are put together."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from multifocal.losses.criteria import Sums
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.scene import Scene

Total = Callable[[Quantity], torch.Tensor]


class Partition(ABC):
    """Regions of the images of a batch.

    Attributes:
        label: what terms are called after.
        looks_at_prediction: whether predicted components make the regions.
        takes_background: whether it needs the sums over each image's background.
        keeps_distances: whether distances within the image are those within its regions.
        classes: whether a region has all of softmax's classes (see `Door`).

    Example:
        >>> from multifocal.losses.partitions import PARTITIONS
        >>> [name for name, kind in PARTITIONS.items() if kind.looks_at_prediction]
        ['instances', 'predictions', 'prediction-cells']
    """

    label: str
    looks_at_prediction = False
    takes_background = True
    keeps_distances = False
    classes = False

    @abstractmethod
    def sums(self, scene: Scene, quantities: tuple[Quantity, ...], *, relaxed: bool) -> tuple[Sums, torch.Tensor]:
        """Return the sums over each region, and the regions' weights in the mean.

        Args:
            scene: the batch.
            quantities: that are summed.
            relaxed: give regions without a prediction, or without anything true, the gradient of a soft stand-in.
        """


def gathered(
    quantities: tuple[Quantity, ...],
    *,
    overlap: Callable[[], torch.Tensor],
    predicted: Callable[[], torch.Tensor],
    true: torch.Tensor,
    other: Total,
    size: torch.Tensor | float,
    extent: torch.Tensor | float | None,
) -> Sums:
    """Return the sums that the quantities ask for, as (regions, channels)."""
    nothing = torch.zeros_like(true)
    with_p = P in quantities
    return Sums(
        _column(overlap() if with_p else nothing),
        _column(predicted() if with_p else nothing),
        _column(true),
        {quantity: _column(other(quantity)) for quantity in quantities if quantity != P},
        size,
        _column(extent) if isinstance(extent, torch.Tensor) else extent,
    )


def even(scene: Scene, count: int) -> torch.Tensor:
    """Return weights for a mean over as many regions."""
    return torch.full((count,), 1 / count, dtype=scene.x.dtype, device=scene.x.device)


def by_image(counts: np.ndarray) -> np.ndarray:
    """Return weights for a mean over each image's regions, then over the images that have one.

    Example:
        >>> by_image(np.array([2, 0, 1])).tolist()
        [0.25, 0.25, 0.5]
    """
    return np.repeat(1 / (np.maximum(counts, 1) * max(1, np.count_nonzero(counts))), counts)


def pooled(counts: np.ndarray, pool: str) -> np.ndarray:
    """Return weights for a mean over the regions of the batch, or over each image's first.

    Example:
        >>> pooled(np.array([3, 1]), "batch").tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    if pool == "image":
        return by_image(counts)
    return np.full(counts.sum(), 1 / max(1, counts.sum()))


def _column(values: torch.Tensor) -> torch.Tensor:
    return values if values.ndim == 2 else values[:, None]
