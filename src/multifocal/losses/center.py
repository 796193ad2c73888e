"""The centres of lesions (Rachmadi 2024, eq. 4)."""

from dataclasses import dataclass, field
from itertools import product
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from multifocal.errors import UserError
from multifocal.instances import Instances
from multifocal.losses.algebra import Needs, Term
from multifocal.losses.checked import Checked
from multifocal.losses.criteria import Criterion, Sums
from multifocal.losses.overlap import Dice
from multifocal.losses.quantities import P
from multifocal.losses.relaxation import through
from multifocal.losses.scene import Scene


@dataclass(frozen=True)
class Center(Checked, Term):
    """Each component becomes a cube at its centre of mass; the criterion between the two images of cubes (eq. 4).

    A cube is the voxels whose centres lie within `side / 2` of the mask's centre of mass along each axis: the cube
    around the nearest voxel, and around both where two are as near, so that a flipped image has the same value. The
    gradient moves the centre of mass of p within each predicted component, whose cube then covers voxels in part.

    Args:
        side: voxels along an edge of the cube, odd.
        criterion: over the whole batch; one of overlap.

    Example:
        >>> target = torch.zeros(1, 1, 12, 12)
        >>> target[..., 2:5, 2:5] = 1
        >>> [round(Center().build(activation="none")(target.roll(step, 3), target).item(), 2) for step in (0, 1, 3)]
        [0.0, 0.33, 1.0]
    """

    name = "center"
    side: Annotated[int, Field(gt=0)] = 3
    criterion: Criterion = field(default_factory=Dice)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % 2 == 0:
            raise UserError(f"Center: side={self.side}; expected an odd number of voxels")
        if self.criterion.quantities != (P,):
            raise UserError(f"Center: criterion={self.criterion.name}; expected one of overlap, such as Dice")

    @property
    def needs(self) -> Needs:
        """What a scene must hold."""
        return Needs(predicted=True)

    def measure(self, scene: Scene) -> torch.Tensor:
        """Return the criterion between the stamped images."""
        true, predicted = (self._stamped(scene, side) for side in (scene.true, scene.predicted))
        overlap = predicted[np.isin(predicted, true, assume_unique=True)]
        numbers = [scene.x.new_full((1, 1), float(len(part))) for part in (overlap, predicted, true)]
        value = self._loss(*numbers)
        if not scene.options.relaxed:
            return value + 0 * scene.by_pair(P).sum()
        soft_overlap, soft_predicted = self._soft(scene, true)
        soft = self._loss(soft_overlap, soft_predicted, numbers[2])
        return through(value, soft)

    def _loss(self, overlap: torch.Tensor, predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        return self.criterion.values(Sums(overlap.view(1, 1), predicted.view(1, 1), true.view(1, 1), {}, 1.0)).sum()

    def _stamped(self, scene: Scene, instances: Instances) -> np.ndarray:
        """Return the flat indices of the voxels inside a cube, each once."""
        lower = np.ceil(instances.centres - self.side / 2).astype(np.int64)
        upper = np.floor(instances.centres + self.side / 2).astype(np.int64)
        places = lower[:, None] + np.array(list(product(range(self.side + 1), repeat=len(scene.shape))))
        voxels, inside = _flat(places, instances.image[:, None], scene)
        return np.unique(voxels[inside & np.all(places <= upper[:, None], axis=-1)])

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
