"""What is measured: criteria as functions of sums over a region."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from multifocal.errors import UserError
from multifocal.losses.algebra import Needs, Term
from multifocal.losses.checked import Checked
from multifocal.losses.quantities import HausdorffOf, P, Quantity

if TYPE_CHECKING:
    from multifocal.losses.partitions import Over
    from multifocal.losses.scene import Scene


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over regions, each of shape (regions, channels).

    Args:
        overlap: Σpy.
        predicted: Σp.
        true: Σy.
        others: sums of other quantities.
        size: the voxels that their means are over.
        extent: the voxels of the region itself, over which an empty region's stand-in is a mean; None for none.
    """

    overlap: torch.Tensor
    predicted: torch.Tensor
    true: torch.Tensor
    others: Mapping[Quantity, torch.Tensor]
    size: torch.Tensor | float
    extent: torch.Tensor | float | None = None


class Criterion(Term):
    """A loss of a region, from sums over it. Over the whole image unless `over` says otherwise.

    Criteria are losses themselves: `criterion(logits, target)`, and parts of sums:
    `0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()`.

    Example:
        >>> from multifocal.losses import Dice
        >>> target = torch.ones(1, 1, 4, 4)
        >>> round(float(Dice()(torch.zeros(1, 1, 4, 4), target)), 3)
        0.333
    """

    quantities: tuple[Quantity, ...] = (P,)

    @abstractmethod
    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region, (regions,): the mean over channels."""

    def finish(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the loss of the batch from the mean over its regions."""
        return mean

    @property
    def is_mean(self) -> bool:
        """Whether the loss of the batch is the mean over its regions, and nothing is done to it."""
        return type(self).finish is Criterion.finish

    @property
    def takes_distances(self) -> bool:
        """Whether it looks at distances to borders, which are those of the whole image."""
        return any(isinstance(quantity, HausdorffOf) for quantity in self.quantities)

    def over(self, partition: str, /, **options: Any) -> "Over":
        """Return the criterion over regions of the image: see `multifocal.losses.partitions`."""
        from multifocal.losses.partitions import Over, partition_named

        return Over(self, partition_named(partition, **options))

    @property
    def needs(self) -> Needs:
        """What a scene must hold."""
        return self._over_the_image.needs

    def measure(self, scene: "Scene") -> torch.Tensor:
        """Return the criterion over the whole image."""
        return self._over_the_image.measure(scene)

    @cached_property
    def _over_the_image(self) -> "Over":
        from multifocal.losses.partitions import Image, Over

        return Over(self, Image())


@dataclass(frozen=True)
class Mix(Checked, Criterion):
    """Weighted sum of criteria of the same regions, as one criterion.

    Args:
        name: of the sum.
        parts: criteria and their weights.

    Raises:
        UserError: a part that is no mean over regions.

    Example:
        >>> from multifocal.losses import Dice, Focal
        >>> Mix("mine", ((Dice(), 1.0), (Focal(gamma=3.0), 2.0))).over("blobs").name
        'mine over blobs'
    """

    name: str
    parts: tuple[tuple[Criterion, float], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts:
            raise UserError("Mix: parts is empty; expected criteria and their weights")
        for part, _ in self.parts:
            if not part.is_mean:
                raise UserError(f"Mix: parts has {part.name}, which is no mean over regions; add it outside of the Mix")

    @property
    def quantities(self) -> tuple[Quantity, ...]:  # type: ignore[override]
        """What is summed."""
        return tuple(dict.fromkeys(quantity for part, _ in self.parts for quantity in part.quantities))

    def values(self, sums: Sums) -> torch.Tensor:
        """Return the loss of each region."""
        return torch.stack([weight * part.values(sums) for part, weight in self.parts]).sum(0)
