"""Missed and false lesions, their centres and their nearness (Rachmadi 2024, eqs. 4 to 10).

These terms count. A count has no gradient, so each takes that of a soft stand-in ("straight-through"): the value is
the published one, the gradient pushes missed lesions up and false ones down. `relaxed=False` leaves it out.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
import torch

from multifocal.losses.algebra import Term
from multifocal.losses.boxes import nearest
from multifocal.losses.criteria import Criterion, Dice, Sums
from multifocal.losses.partitions import Instances, Predictions, Touching
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class MissedRate(Term):
    """`#{n touched by no P} / N` (eq. 5); gradient of `1 - soft Dice` over each missed lesion, divided by N.

    Args:
        relaxed: take the gradient of the stand-in.
    """

    name = "missed"
    relaxed: bool = True

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        return (), True

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the share of lesions that no predicted component touches."""
        found = np.zeros(scene.true.total, bool)
        touched = scene.pairs.target[scene.pairs.prediction > 0]
        found[touched[touched > 0] - 1] = True
        lost = scene.number(~found) / max(1, scene.true.total)
        sizes = scene.number(scene.true.sizes)
        inside = scene.by_lesion(P)
        soft = 1 - 2 * inside / (inside + sizes)
        return _through(lost.sum(), (lost * soft).sum(), relaxed=self.relaxed)


@dataclass(frozen=True)
class FalseRate(Term):
    """`#{m touching no G} / M` (eq. 6); gradient of the mean p over each false component, divided by M.

    Args:
        relaxed: take the gradient of the stand-in.
    """

    name = "false"
    relaxed: bool = True

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        return (), True

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the share of predicted components that touch no lesion."""
        right = np.zeros(scene.predicted.total, bool)
        touching = scene.pairs.prediction[scene.pairs.target > 0]
        right[touching[touching > 0] - 1] = True
        wrong = scene.number(~right) / max(1, scene.predicted.total)
        mean = Touching(scene).outside(P) / scene.number(scene.predicted.sizes)
        return _through(wrong.sum(), (wrong * mean).sum(), relaxed=self.relaxed)


@dataclass(frozen=True)
class Center(Term):
    """Each component becomes a cube at its centre of mass; the criterion between the two images of cubes (eq. 4).

    The value is that of whole cubes around the voxel nearest to each mask's centre of mass. The gradient moves the
    centre of mass of p within each predicted component, whose cube then covers voxels in part.

    Args:
        side: voxels along an edge of the cube, odd.
        criterion: over the whole batch; one of overlap.
        relaxed: take the gradient of the stand-in.
    """

    name = "center"
    side: int = 3
    criterion: Criterion = field(default_factory=Dice)
    relaxed: bool = True

    def __post_init__(self) -> None:
        if self.side < 1 or self.side % 2 == 0:
            raise ValueError(f"side={self.side}; expected an odd number of voxels")
        if self.criterion.quantities != (P,):
            raise ValueError(f"criterion={self.criterion.name}; expected one of overlap, such as Dice")

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        return (), True

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the criterion between the stamped images."""
        true, predicted = (self._stamped(scene, side) for side in (scene.true, scene.predicted))
        overlap = predicted[np.isin(predicted, true, assume_unique=True)]
        numbers = [scene.x.new_full((1, 1), float(len(part))) for part in (overlap, predicted, true)]
        value = self._loss(*numbers)
        if not self.relaxed:
            return value + 0 * scene.by_pair(P).sum()
        soft_overlap, soft_predicted = self._soft(scene, true)
        soft = self._loss(soft_overlap, soft_predicted, numbers[2])
        return _through(value, soft, relaxed=True)

    def _loss(self, overlap: torch.Tensor, predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        return self.criterion.values(Sums(overlap.view(1, 1), predicted.view(1, 1), true.view(1, 1), {}, 1.0)).sum()

    def _stamped(self, scene: Scene, instances) -> np.ndarray:  # type: ignore[no-untyped-def]
        """Return the flat indices of the voxels inside a cube, each once."""
        centres = np.floor(instances.centres + 0.5).astype(np.int64)
        reach = self.side // 2
        offsets = np.array(list(product(range(-reach, reach + 1), repeat=len(scene.shape))))
        voxels, inside = _flat(centres[:, None] + offsets, instances.image[:, None], scene)
        return np.unique(voxels[inside])

    def _soft(self, scene: Scene, true: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Σpy and Σp of the smooth cubes around each component's soft centre of mass."""
        centres = _soft_centres(scene)
        reach = self.side // 2 + 1
        offsets = np.array(list(product(range(-reach, reach + 1), repeat=len(scene.shape))))
        near = np.floor(centres.detach().cpu().double().numpy() + 0.5).astype(np.int64)
        places = near[:, None] + offsets
        voxels, inside = _flat(places, scene.predicted.image[:, None], scene)
        # A voxel's share of a cube: along each axis the length of what both cover.
        away = (scene.number(places) - centres[:, None]).abs()
        cover = (self.side / 2 + 0.5 - away).clamp(0, 1).prod(-1)
        hit = scene.number(np.isin(voxels, true) & inside)
        return (cover * hit).sum(), (cover * scene.number(inside)).sum()


@dataclass(frozen=True)
class Proximity(Term):
    """Instance losses weighted by the distance to the nearest box on the other side (eqs. 7 to 10).

    `D[n,m] = 1 - IoU + ρ²/τ²` of the bounding boxes, `L_GT = Σ_n min_m D[n,m] ℓ_GT(n)`, `L_P = Σ_m min_n D[n,m]
    ℓ_P(m)`. With no component on a side, a 3-voxel cube in the image's middle stands in; the gradient then comes from
    what the other side costs.

    Args:
        criterion: ℓ.
        combine: "difference" is `(L_P - L_GT)²` as published, zero where one lesion is missed by a shifted copy;
            "sum" is `L_GT / N + L_P / M`.
        relaxed: as in `Instances`; of the sum only.
    """

    name = "proximity"
    criterion: Criterion = field(default_factory=Dice)
    combine: Literal["difference", "sum"] = "difference"
    relaxed: bool = True

    def __post_init__(self) -> None:
        if self.combine not in ("difference", "sum"):
            raise ValueError(f"combine={self.combine!r}; expected 'difference' or 'sum'")

    @property
    def needs(self) -> tuple[tuple[Quantity, ...], bool]:
        """What a scene must hold."""
        return (), True

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the proximity loss of the batch."""
        to_prediction, to_lesion = (scene.number(side) for side in nearest(scene.true, scene.predicted))
        losses = []
        # In a difference a lesion that costs more makes the loss smaller: pushing it up would need the sum.
        relaxed = self.relaxed and self.combine == "sum"
        for partition, distance in ((Instances(relaxed=relaxed), to_prediction), (Predictions(), to_lesion)):
            sums, _ = partition.sums(scene, self.criterion.quantities)
            losses.append((self.criterion.values(sums) * distance).sum())
        if self.combine == "difference":
            return (losses[1] - losses[0]).square()
        return losses[0] / max(1, scene.true.total) + losses[1] / max(1, scene.predicted.total)


def _through(value: torch.Tensor, soft: torch.Tensor, *, relaxed: bool) -> torch.Tensor:
    """Return the value with the gradient of its soft stand-in, or with none."""
    return value.detach() + (soft - soft.detach() if relaxed else 0 * soft)


def _flat(places: np.ndarray, image: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return places (..., ndim) of images as flat indices, and which of them are inside the image."""
    shape = np.array(scene.shape)
    inside: np.ndarray = np.all((places >= 0) & (places < shape), axis=-1)
    clipped = np.clip(places, 0, shape - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(clipped, -1, 0)), scene.shape)
    return flat + image * scene.size, inside


def _soft_centres(scene: Scene) -> torch.Tensor:
    """Return the centre of mass of p within each predicted component, (M, ndim)."""
    values, voxels = scene.values(P), scene.voxels
    owner = scene.pairs.prediction[scene.pair_of_voxel]
    kept = np.flatnonzero(owner > 0)
    mass, group = values[scene.index(kept)], scene.index(owner[kept] - 1)
    places = np.stack(np.unravel_index(voxels[kept] % scene.size, scene.shape), axis=1)
    weighted = mass[:, None] * torch.from_numpy(places).to(mass.device)
    count = scene.predicted.total
    total = mass.new_zeros(count).index_add(0, group, mass)
    return (mass.new_zeros(count, len(scene.shape)).index_add(0, group, weighted) / total[:, None]).to(scene.x.dtype)
