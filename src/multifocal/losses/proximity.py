"""How near lesions and predicted components are to each other (Rachmadi 2024, eqs. 7 to 10)."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from multifocal.errors import UserError
from multifocal.losses.algebra import Needs, Term
from multifocal.losses.boxes import nearest
from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Criterion
from multifocal.losses.overlap import Dice
from multifocal.losses.partitions import Instances, Predictions
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class Proximity(Checked, Term):
    """Instance losses weighted by the distance to the nearest box on the other side (eqs. 7 to 10).

    `D[n,m] = 1 - IoU + ρ²/τ²` of the bounding boxes, `L_GT = Σ_n min_m D[n,m] ℓ_GT(n)`, `L_P = Σ_m min_n D[n,m]
    ℓ_P(m)`. With no component on a side, a 3-voxel cube in the image's middle stands in; the gradient then comes from
    what the other side costs.

    Args:
        criterion: ℓ.
        combine: "difference" is `(L_P - L_GT)²` as published, zero where one lesion is missed by a shifted copy;
            "sum" is `L_GT / N + L_P / M`. The stand-ins of `Instances` and `Predictions` are part of the sum alone: in
            a difference a lesion that costs more makes the loss smaller.

    Raises:
        UserError: a criterion that is no mean over regions, or one of distances.

    Example:
        >>> target = torch.zeros(1, 1, 12, 12)
        >>> target[..., 2:5, 2:5] = 1
        >>> both = [Proximity(combine=how).build(activation="none") for how in ("difference", "sum")]
        >>> [round(loss(target.roll(6, 3), target).item(), 2) for loss in both]
        [0.0, 2.8]
    """

    name = "proximity"
    criterion: Criterion = field(default_factory=Dice)
    combine: Literal["difference", "sum"] = "difference"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.criterion.is_mean or self.criterion.takes_distances:
            raise UserError(
                f"Proximity: criterion={self.criterion.name}; expected a mean over regions, and one without distances"
            )

    @property
    def needs(self) -> Needs:
        """What a scene must hold."""
        return Needs(predicted=True)

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the proximity loss of the batch."""
        to_prediction, to_lesion = (scene.number(side) for side in nearest(scene.true, scene.predicted))
        relaxed = scene.options.relaxed and self.combine == "sum"
        losses = []
        for partition, distance in ((Instances(), to_prediction), (Predictions(), to_lesion)):
            sums, _ = partition.sums(scene, self.criterion.quantities, relaxed=relaxed)
            losses.append((self.criterion.values(sums) * distance).sum())
        if self.combine == "difference":
            return (losses[1] - losses[0]).square()
        return losses[0] / max(1, scene.true.total) + losses[1] / max(1, scene.predicted.total)
