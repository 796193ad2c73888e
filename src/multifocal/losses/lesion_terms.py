"""Terms that look at lesions as wholes (Rachmadi 2024): centers, missed and false lesions, proximity.

Rates count, and a count has no gradient, so each takes that of a soft stand-in: the value is the published one, the
gradient pushes missed lesions up and false ones down. A loss built with `relaxed=False` leaves it out.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from multifocal.config import Checked
from multifocal.errors import UserError
from multifocal.instances import Instances
from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.criteria import Criterion, Dice, Over, straight_through
from multifocal.losses.inputs import CLASS_WEIGHTS, IGNORE
from multifocal.losses.loss import TERMS, CompoundLoss, Needs, Sum, Term
from multifocal.losses.regions import InstanceRegions, PredictionRegions, Sums, Touching
from multifocal.losses.voxel_costs import P

_BLOCK = 1 << 18  # pairs at a time, so that thousands of components need little memory


@TERMS.register("center")
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
    follows = IGNORE | CLASS_WEIGHTS  # the criterion sees one channel
    side: Annotated[int, Field(gt=0)] = 3
    criterion: Criterion = field(default_factory=Dice)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % 2 == 0:
            raise UserError(f"Center: side={self.side}; expected an odd number of voxels")
        if self.criterion.costs != (P,):
            raise UserError(f"Center: criterion={self.criterion.name}; expected one of overlap, such as Dice")

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return Needs(predicted=True)

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the criterion between the stamped images.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        true, predicted = (self._stamped(batch_sums, side) for side in (batch_sums.true, batch_sums.predicted))
        overlap = predicted[np.isin(predicted, true, assume_unique=True)]
        numbers = [
            batch_sums.class_weights_of(part // batch_sums.size).sum().view(1, 1) for part in (overlap, predicted, true)
        ]
        value = self._loss(*numbers)
        if not batch_sums.options.relaxed:
            return value + 0 * batch_sums.by_pair(P).sum()
        soft_overlap, soft_predicted = self._soft(batch_sums, true)
        soft = self._loss(soft_overlap, soft_predicted, numbers[2])
        return straight_through(value, soft)

    def _loss(self, overlap: torch.Tensor, predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        return self.criterion.values(Sums(overlap.view(1, 1), predicted.view(1, 1), true.view(1, 1), {}, 1.0)).sum()

    def _stamped(self, batch_sums: BatchSums, instances: Instances) -> np.ndarray:
        """Return the flat indices of the voxels inside a cube, each once."""
        lower = np.ceil(instances.centres - self.side / 2).astype(np.int64)
        upper = np.floor(instances.centres + self.side / 2).astype(np.int64)
        places = lower[:, None] + np.array(list(product(range(self.side + 1), repeat=len(batch_sums.shape))))
        voxels, inside = _flat(places, instances.image[:, None], batch_sums)
        return np.unique(voxels[inside & np.all(places <= upper[:, None], axis=-1)])

    def _soft(self, batch_sums: BatchSums, true: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return Σpy and Σp of the smooth cubes around each component's soft centre of mass."""
        centres = _soft_centres(batch_sums)
        reach = self.side // 2 + 1
        offsets = np.array(list(product(range(-reach, reach + 1), repeat=len(batch_sums.shape))))
        near = np.floor(centres.detach().cpu().double().numpy() + 0.5).astype(np.int64)
        places = near[:, None] + offsets
        voxels, inside = _flat(places, batch_sums.predicted.image[:, None], batch_sums)
        # A voxel's share of a cube: along each axis the length of what both cover.
        away = (batch_sums.number(places) - centres[:, None]).abs()
        cover = (self.side / 2 + 0.5 - away).clamp(0, 1).prod(-1)
        cover = cover * batch_sums.class_weights_of(batch_sums.predicted.image)[:, None]
        hit = batch_sums.number(np.isin(voxels, true) & inside)
        return (cover * hit).sum(), (cover * batch_sums.number(inside)).sum()


@TERMS.register("missed")
@dataclass(frozen=True)
class FalseNegativeRate(Term):
    """`#{n touched by no P} / N` (eq. 5); gradient of `1 - soft Dice` over each missed lesion, divided by N.

    Example:
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 1, 1] = target[..., 5, 5] = 1
        >>> found = target.clone()
        >>> found[..., 5, 5] = 0
        >>> FalseNegativeRate().build(activation="none")(found, target).item()
        0.5
    """

    name = "missed"
    follows = IGNORE | CLASS_WEIGHTS

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return Needs(predicted=True)

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the share of lesions that no predicted component touches.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        found = np.zeros(batch_sums.true.total, bool)
        touched = batch_sums.pairs.target[batch_sums.pairs.prediction > 0]
        found[touched[touched > 0] - 1] = True
        lost = batch_sums.number(~found) * _shares(batch_sums, batch_sums.true)
        sizes = batch_sums.number(batch_sums.true.sizes)
        inside = batch_sums.by_lesion(P)
        soft = 1 - 2 * inside / (inside + sizes)
        return _counted(lost.sum(), (lost * soft).sum(), batch_sums)


@TERMS.register("false")
@dataclass(frozen=True)
class FalseDiscoveryRate(Term):
    """`#{m touching no G} / M` (eq. 6); gradient of the mean p over each false component, divided by M.

    Example:
        >>> predicted = torch.zeros(1, 1, 8, 8)
        >>> predicted[..., 1, 1] = predicted[..., 5, 5] = 1
        >>> target = predicted.clone()
        >>> target[..., 5, 5] = 0
        >>> FalseDiscoveryRate().build(activation="none")(predicted, target).item()
        0.5
    """

    name = "false"
    follows = IGNORE | CLASS_WEIGHTS

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return Needs(predicted=True)

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the share of predicted components that touch no lesion.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        right = np.zeros(batch_sums.predicted.total, bool)
        touching = batch_sums.pairs.prediction[batch_sums.pairs.target > 0]
        right[touching[touching > 0] - 1] = True
        wrong = batch_sums.number(~right) * _shares(batch_sums, batch_sums.predicted)
        mean = Touching(batch_sums).outside(P) / batch_sums.number(batch_sums.predicted.sizes)
        return _counted(wrong.sum(), (wrong * mean).sum(), batch_sums)


@TERMS.register("proximity")
@dataclass(frozen=True)
class Proximity(Checked, Term):
    """Instance losses weighted by the distance to the nearest box on the other side (eqs. 7 to 10).

    `D[n,m] = 1 - IoU + ρ²/τ²` of the bounding boxes, `L_GT = Σ_n min_m D[n,m] ℓ_GT(n)`, `L_P = Σ_m min_n D[n,m]
    ℓ_P(m)`. With no component on a side, a 3-voxel cube in the image's middle stands in; the gradient then comes from
    what the other side costs.

    Args:
        criterion: ℓ.
        combine: "difference" is `(L_P - L_GT)²` as published, zero where one lesion is missed by a shifted copy;
            "sum" is `L_GT / N + L_P / M`. The stand-ins of `InstanceRegions` and `PredictionRegions` are part of the
            sum alone: in a difference a lesion that costs more makes the loss smaller.

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
    follows = IGNORE | CLASS_WEIGHTS  # the criterion sees one channel a region
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
        """What it asks of `BatchSums`."""
        return Needs(predicted=True)

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the proximity loss of the batch.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        to_prediction, to_lesion = (batch_sums.number(side) for side in _nearest(batch_sums))
        relaxed = batch_sums.options.relaxed and self.combine == "sum"
        losses, totals = [], []
        for partition, distance, side in (
            (InstanceRegions(), to_prediction, batch_sums.true),
            (PredictionRegions(), to_lesion, batch_sums.predicted),
        ):
            sums, _ = partition.sums(batch_sums, self.criterion.costs, relaxed=relaxed)
            weights = batch_sums.class_weights_of(side.image)
            losses.append((self.criterion.values(sums) * distance * weights).sum())
            totals.append(weights.sum())
        if self.combine == "difference":
            return (losses[1] - losses[0]).square()
        means = [loss / torch.where(total > 0, total, 1) for loss, total in zip(losses, totals, strict=True)]
        return means[0] + means[1]


def instance_terms(
    probabilities: torch.Tensor,
    target: torch.Tensor,
    *,
    criterion: Criterion | None = None,
    instances: torch.Tensor | None = None,
    ignore: torch.Tensor | int | None = None,
    **options: Any,
) -> dict[str, torch.Tensor]:
    """Return the instance losses of both sides, center, missed and false rate and proximity, unweighted.

    InstanceRegions are pooled over the batch.

    Args:
        probabilities: (B, C, *spatial); logits if an activation is given.
        target: zeros and ones of the same shape.
        criterion: what instances are measured with; Dice with a smoothing of 1e-5.
        instances: the target's lesions as integer labels, if they were made beforehand.
        ignore: mask of voxels that count nowhere, boolean (B, *spatial), (B, 1, *spatial) or (B, C, *spatial), or their
            value in the target; None for none.
        **options: see `Options`; `relaxed=False` leaves out the gradients of soft stand-ins.

    Returns:
        A scalar for each term, by name.

    Raises:
        ValueError: input that does not fit.

    Example:
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 1:3, 1:3] = 1
        >>> {name: round(float(value), 2) for name, value in instance_terms(0.9 * target, target).items()}
        {'instance_gt': 0.05, 'instance_pred': 0.05, 'center': 0.0, 'missed': 0.0, 'false': 0.0, 'proximity': 0.0}
    """
    measured = criterion or Dice()
    terms = {
        "instance_gt": Over(measured, InstanceRegions()),
        "instance_pred": Over(measured, PredictionRegions()),
        "center": Center(),
        "missed": FalseNegativeRate(),
        "false": FalseDiscoveryRate(),
        "proximity": Proximity(criterion=measured),
    }
    expression = Sum(tuple(pair for term in terms.values() for pair in term.weighted))
    mask, value = (ignore, None) if isinstance(ignore, torch.Tensor) else (None, ignore)
    loss = CompoundLoss(expression, **{"activation": "none", "ignore": value, **options})
    values = loss.terms(probabilities, target, instances=instances, ignore=mask)
    return dict(zip(terms, values.values(), strict=True))


def _nearest(batch_sums: BatchSums) -> tuple[np.ndarray, np.ndarray]:
    """Return for each lesion the least distance to a predicted component of its image, and the other way round.

    `D = 1 - IoU + ρ²/τ²`: ρ between the boxes' centres, τ the diagonal of the box around both. An image without
    components on a side has a cube of 3 voxels in its middle there.
    """
    true, predicted = batch_sums.true, batch_sums.predicted
    to_predicted, to_true = np.zeros(true.total), np.zeros(predicted.total)
    for image, (n, m) in enumerate(zip(true.counts, predicted.counts, strict=True)):
        rows = slice(true.offsets[image], true.offsets[image] + n)
        columns = slice(predicted.offsets[image], predicted.offsets[image] + m)
        if not (n or m):
            continue
        frame = batch_sums.frames[0][image], batch_sums.frames[1][image]
        left, right = _boxes(true, rows, frame), _boxes(predicted, columns, frame)
        least = np.full(right.shape[1], np.inf)
        step = max(1, _BLOCK // right.shape[1])
        for start in range(0, left.shape[1], step):
            distances = _box_distances(left[:, start : start + step, None], right[:, None])
            if n:
                to_predicted[rows][start : start + step] = distances.min(1)
            np.minimum(least, distances.min(0), out=least)
        if m:
            to_true[columns] = least
    return to_predicted, to_true


def _boxes(instances: Instances, which: slice, frame: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return corners as (2 ndim, N): lower ones, then upper ones; the stand-in where there is none."""
    lower, upper = (corner[which] for corner in instances.boxes)
    if not len(lower):
        first, last = frame
        # Half voxels where a side is even: a flipped image has the same.
        lower = (first + np.maximum((last - first - 3) / 2, 0))[None]
        upper = np.minimum(lower + 3, last)
    return np.concatenate([lower, upper], axis=1).T.astype(float)


def _box_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    ndim = len(left) // 2
    shared, one, other, apart, diagonal = (
        np.ones(()),
        np.ones(()),
        np.ones(()),
        np.zeros(()),
        np.zeros(()),
    )
    for axis in range(ndim):
        a, b, c, d = left[axis], left[ndim + axis], right[axis], right[ndim + axis]
        shared = shared * np.maximum(np.minimum(b, d) - np.maximum(a, c), 0)
        one, other = one * (b - a), other * (d - c)
        apart = apart + np.square((a + b - c - d) / 2)
        diagonal = diagonal + np.square(np.maximum(b, d) - np.minimum(a, c))
    return 1 - shared / (one + other - shared) + apart / diagonal


def _shares(batch_sums: BatchSums, side: Instances) -> torch.Tensor:
    """Return the share of each component in a rate, 1/N where no class has a weight."""
    return batch_sums.weighed(np.full(side.total, 1 / max(1, side.total)), side.image)


def _counted(count: torch.Tensor, soft: torch.Tensor, batch_sums: BatchSums) -> torch.Tensor:
    """Return the count with the gradient of its soft stand-in, or with one of zero."""
    return straight_through(count, soft if batch_sums.options.relaxed else 0 * soft)


def _flat(places: np.ndarray, image: np.ndarray, batch_sums: BatchSums) -> tuple[np.ndarray, np.ndarray]:
    """Return places (..., ndim) of images as flat indices, and which of them are inside the image, and not ignored."""
    shape = np.array(batch_sums.shape)
    inside: np.ndarray = np.all((places >= 0) & (places < shape), axis=-1)
    clipped = np.clip(places, 0, shape - 1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(clipped, -1, 0)), batch_sums.shape) + image * batch_sums.size
    return flat, inside if batch_sums.view.ignored is None else inside & batch_sums.is_known[flat]


def _soft_centres(batch_sums: BatchSums) -> torch.Tensor:
    """Return the centre of mass of p within each predicted component, (M, ndim)."""
    values, voxels = batch_sums.values(P), batch_sums.voxels
    owner = batch_sums.pairs.prediction[batch_sums.pair_of_voxel]
    kept = np.flatnonzero(owner > 0)
    mass, group = values[batch_sums.index(kept)], batch_sums.index(owner[kept] - 1)
    places = np.stack(np.unravel_index(voxels[kept] % batch_sums.size, batch_sums.shape), axis=1)
    weighted = mass[:, None] * torch.from_numpy(places).to(mass.device)
    count = batch_sums.predicted.total
    total = mass.new_zeros(count).index_add(0, group, mass)
    return (mass.new_zeros(count, len(batch_sums.shape)).index_add(0, group, weighted) / total[:, None]).to(
        batch_sums.x.dtype
    )
