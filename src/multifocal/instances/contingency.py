"""The contingency of two labelings: what there is in each overlap of a predicted and a true component."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from multifocal.instances.batches import Instances, given

if TYPE_CHECKING:
    import torch

# Above this many possible pairs per voxel a sort of the voxels costs less than a table of the pairs.
_TABLE_PER_VOXEL = 8


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs (predicted component m, true component n) that share a voxel, with 0 for background on one side.

    Args:
        voxels: int64, ascending: the voxels that belong to a component of either side.
        pair: int64: for each of them its pair.
        prediction: for each pair, m (counted through the batch from 1, 0 for background).
        target: for each pair, n.
    """

    voxels: np.ndarray
    pair: np.ndarray
    prediction: np.ndarray
    target: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Voxels of each pair."""
        return np.bincount(self.pair, minlength=len(self.target))


@dataclass(frozen=True, eq=False)
class Contingency:
    """Sums over the overlaps of two labelings.

    `prediction[r]` and `target[r]` are the labels of pair r, `counts[r]` its voxels and `sums[q, r]` the sum of
    quantity q over them. Row 0 is the pair of the two backgrounds.
    """

    prediction: np.ndarray
    target: np.ndarray
    counts: np.ndarray
    sums: "np.ndarray | torch.Tensor"


def pairs(prediction: Instances, target: Instances) -> Pairs:
    """Return which components of two labelings of the same images share voxels, and where.

    Example:
        >>> from multifocal.instances import label
        >>> found = pairs(label(np.array([[[1, 1, 0]]], bool)), label(np.array([[[0, 1, 0]]], bool)))
        >>> found.prediction.tolist(), found.target.tolist(), found.counts.tolist()
        ([1, 1], [0, 1], [1, 1])
    """
    from multifocal.kernels.sums import union

    voxels, m, n = union(prediction.voxels, prediction.labels, target.voxels, target.labels)
    return Pairs(voxels, *_number(m, n, prediction, target))


def _number(
    m: np.ndarray, n: np.ndarray, prediction: Instances, target: Instances
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each voxel's pair and the two labels of each pair."""
    predicted, true = prediction.total, target.total
    # Codes: 1..N for (0, n), then (m, 0), then a table of m x n for each image.
    tables = np.concatenate([[0], np.cumsum(prediction.counts * target.counts)])
    code = np.where(m == 0, n, true + m)
    both = np.flatnonzero((m > 0) & (n > 0))
    if both.size:
        image = prediction.image[m[both] - 1]
        row = m[both] - 1 - prediction.offsets[image]
        column = n[both] - 1 - target.offsets[image]
        code[both] = 1 + true + predicted + tables[image] + row * target.counts[image] + column
    length = 1 + true + predicted + int(tables[-1])
    if length <= max(1024, _TABLE_PER_VOXEL * len(code)):
        seen = np.zeros(length, bool)
        seen[code] = True
        codes = np.flatnonzero(seen)
        number = np.cumsum(seen) - 1
        pair = number[code]
    else:
        codes, pair = np.unique(code, return_inverse=True)
    first = np.zeros(len(codes), np.int64)
    first[pair] = np.arange(len(code))
    return pair.reshape(-1).astype(np.int64), m[first], n[first]


def contingency(
    prediction: "np.ndarray | torch.Tensor",
    target: "np.ndarray | torch.Tensor",
    quantities: "Sequence[np.ndarray | torch.Tensor]" = (),
) -> Contingency:
    """Return sums of per-voxel quantities over each overlap of a predicted and a true component.

    `S[q, (m, n)] = Σ quantity_q over P_m ∩ G_n`; only pairs that share a voxel, and the pair of the backgrounds.

    Args:
        prediction: integer labels of one image, 0 for background.
        target: the same of the truth.
        quantities: arrays of the same shape; tensors are differentiated through.

    Raises:
        ValueError: shapes that differ, or labels that are no integers from 0.

    Example:
        >>> found = contingency(np.array([[1, 1, 0, 2]]), np.array([[0, 5, 0, 0]]), [np.array([[1.0, 2.0, 4.0, 8.0]])])
        >>> [(int(m), int(n), float(s)) for m, n, s in zip(found.prediction, found.target, found.sums[0])]
        [(0, 0, 4.0), (1, 0, 1.0), (2, 0, 8.0), (1, 5, 2.0)]
    """
    for name, side in (("target", target), *((f"quantities[{n}]", part) for n, part in enumerate(quantities))):
        if tuple(side.shape) != tuple(prediction.shape):
            raise ValueError(
                f"{name} has shape {tuple(side.shape)}; expected that of prediction, {tuple(prediction.shape)}"
            )
    left, right = given(prediction[None]), given(target[None])
    found = pairs(left, right)
    names = [np.concatenate([[0], np.unique(_array(side)[_array(side) != 0])]) for side in (prediction, target)]
    counts = np.bincount(found.pair, minlength=len(found.target))
    if isinstance(prediction, np.ndarray):
        sums = [_sums(np.asarray(quantity).reshape(-1), found, len(counts)) for quantity in quantities]
        table: Any = np.stack(sums) if sums else np.zeros((0, len(counts) + 1))
    else:
        import torch

        rows = [_torch_sums(quantity.reshape(-1), found, len(counts)) for quantity in quantities]  # type: ignore[arg-type]
        table = torch.stack(rows) if rows else torch.zeros(0, len(counts) + 1)
    return Contingency(
        np.concatenate([[0], names[0][found.prediction]]),
        np.concatenate([[0], names[1][found.target]]),
        np.concatenate([[target.reshape(-1).shape[0] - len(found.voxels)], counts]),
        table,
    )


def _sums(flat: np.ndarray, found: Pairs, count: int) -> np.ndarray:
    outside = np.ones(flat.shape, bool)
    outside[found.voxels] = False
    inside = np.bincount(found.pair, weights=flat[found.voxels], minlength=count)
    return np.concatenate([[flat[outside].sum(dtype=np.float64)], inside])


def _torch_sums(flat: "torch.Tensor", found: Pairs, count: int) -> "torch.Tensor":
    import torch

    where = torch.from_numpy(found.voxels).to(flat.device)
    values = flat[where].double()
    inside = values.new_zeros(count).index_add(0, torch.from_numpy(found.pair).to(flat.device), values)
    outside = torch.ones_like(flat, dtype=torch.bool).index_fill(0, where, 0)
    # The background by itself: the total less the rest would lose small sums beside large ones.
    rest = torch.where(outside, flat, 0).double().sum()
    return torch.cat([rest[None], inside]).to(flat.dtype)


def _array(values: "np.ndarray | torch.Tensor") -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
