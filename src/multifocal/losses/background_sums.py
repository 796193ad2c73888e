"""Sums over the background, and the few voxels that belong to a lesion.

Lesions are a small part of an image. The background (target 0) is summed in one sweep; the foreground leaves as a
short vector on which plain differentiable operations do the rest. The backward sweep writes the gradient once. On a CPU
both sweeps go in chunks that stay in the processor's cache: nothing of the image's size is written but the gradient.
Torch shares each chunk out to its threads; threads of Python's would wait for each other between operations as short as
these.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from multifocal.losses.probabilities import PROBABILITIES, Activation
from multifocal.losses.voxel_costs import P, VoxelCost

# Voxels at a time: a share for each of eight threads.
_CHUNK = 1 << 18

Chunk = tuple[int, slice, torch.Tensor]


@dataclass(frozen=True, eq=False)
class SumPlan:
    """What to sum, and where.

    Args:
        activation: what x holds.
        costs: summed over the background.
        fields: for each cost its field, or None.
        foreground_index: flat indices where the target is 1, ascending.
        voxels: flat indices of the voxels to take out.
        groups: for each voxel the group (from 0) that it is summed in; None means its image.
        count: how many groups there are.
        shape: of x.
    """

    activation: Activation
    costs: tuple[VoxelCost, ...]
    fields: tuple[torch.Tensor | None, ...]
    foreground_index: torch.Tensor
    voxels: torch.Tensor
    groups: torch.Tensor | None
    count: int
    shape: torch.Size

    @cached_property
    def chunks(self) -> list[Chunk]:
        """What is worked on at a time."""
        return _chunks(self.shape[0], self.shape[1], self.foreground_index)

    @property
    def simple(self) -> bool:
        """Whether only p is summed, and only by image."""
        return self.costs == (P,) and self.groups is None


def split_sums(x: torch.Tensor, plan: SumPlan) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums over each group's background, (costs, groups), and x at the plan's voxels.

    Args:
        x: (images, voxels).
        plan: what and where.

    Returns:
        The sums, and x at the plan's voxels, flat.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _Split.apply(x, plan)
    return _plain(x, plan)


def above(x: torch.Tensor, activation: Activation, threshold: float, *, closed: bool) -> torch.Tensor:
    """Return where p >= threshold, or p > threshold if not closed; a boolean tensor of x's shape."""
    if x.device.type != "cpu":
        p = activation.probability(x.detach())
        return p >= threshold if closed else p > threshold
    compare = np.greater_equal if closed else np.greater  # several times as fast as torch's
    found = np.empty(x.shape, bool)
    flat, out = x.detach().view(-1), found.reshape(-1)
    for start in range(0, len(flat), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        compare(activation.probability(flat[chunk]).numpy(), threshold, out=out[chunk])
    return torch.from_numpy(found)


class _Split(torch.autograd.Function):
    """A sum of p alone is a few sweeps that keep p; anything else is computed again, where it is needed, in chunks."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, plan: SumPlan) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
        # What is as large as the image is saved as a tensor, which autograd lets go when this node is done.
        ctx.save_for_backward(x, plan.groups, *plan.fields)
        ctx.plan, ctx.p = replace(plan, groups=None, fields=()), None
        inside = x.view(-1).index_select(0, plan.voxels)
        if plan.simple:
            ctx.p = _calm_probability(x, plan)
            return ctx.p.sum(1)[None], inside
        if not plan.costs:
            return x.new_zeros(0, plan.count), inside
        return _sums(x, plan).to(x.dtype), inside

    @staticmethod
    def backward(ctx, of_sums: torch.Tensor, of_voxels: torch.Tensor):  # type: ignore[no-untyped-def]
        x, groups, *fields = ctx.saved_tensors
        plan = replace(ctx.plan, groups=groups, fields=tuple(fields))
        if torch.is_grad_enabled():  # somebody wants the derivative of this derivative
            # Sums of no cost depend on nothing.
            first = 0 if plan.costs else 1
            outputs, weights = _plain(x, plan)[first:], (of_sums, of_voxels)[first:]
            return torch.autograd.grad(outputs, x, weights, create_graph=True)[0], None
        if plan.simple:
            # The gradient takes the place of p, which a second call computes again.
            p, ctx.p = _calm_probability(x, plan) if ctx.p is None else ctx.p, None
            gradient = plan.activation.chain(p, of_sums[0, :, None], None, out=p)
        elif plan.costs:
            gradient = torch.empty_like(x)
            _write_gradient(x, plan, of_sums, gradient)
        else:
            gradient = torch.zeros_like(x)
        flat = gradient.view(-1)
        if plan.costs and plan.activation is PROBABILITIES:  # the others are flat at p = 0
            flat.index_fill_(0, plan.foreground_index, 0)
        flat.index_add_(0, plan.voxels, of_voxels)
        return gradient, None


def _sums(x: torch.Tensor, plan: SumPlan) -> torch.Tensor:
    """Return the sums over each group's background, (costs, groups), in float64."""
    costly = any(cost.costly for cost in plan.costs)
    table = np.zeros((len(plan.costs), plan.count))
    for image, where, foreground_index in plan.chunks:
        p, c = plan.activation.background(x[image, where], foreground_index, costly=costly)
        for row, (cost, field) in enumerate(zip(plan.costs, plan.fields, strict=True)):
            value = cost.background(p, c, None if field is None else field[image, where])
            if plan.groups is None:
                table[row, image] += value.sum().item()
            else:
                from multifocal.kernels.sums import add_by

                add_by(plan.groups[image, where].numpy(), value.numpy(), table[row])
    return torch.from_numpy(table)


def _write_gradient(x: torch.Tensor, plan: SumPlan, of_sums: torch.Tensor, gradient: torch.Tensor) -> None:
    """Write the gradient of the background's sums. At the foreground's probabilities it means nothing."""
    costly = any(cost.costly_slope for cost in plan.costs)
    for image, where, foreground_index in plan.chunks:
        p, c = plan.activation.background(x[image, where], foreground_index, costly=costly)
        by_p: torch.Tensor | None = None
        by_c: torch.Tensor | None = None
        groups = None if plan.groups is None else plan.groups[image, where].int()
        for row, (cost, field) in enumerate(zip(plan.costs, plan.fields, strict=True)):
            weight = of_sums[row, image] if groups is None else of_sums[row].index_select(0, groups)
            first, second = cost.slopes(p, c, None if field is None else field[image, where])
            by_p, by_c = _plus(by_p, weight, first), _plus(by_c, weight, second)
        plan.activation.chain(p, by_p, by_c, out=gradient[image, where])


def _chunks(images: int, size: int, foreground_index: torch.Tensor) -> list[Chunk]:
    """Return image, chunk and the foreground's indices in the chunk."""
    starts = [(image, start) for image in range(images) for start in range(0, size, _CHUNK)]
    lower = torch.tensor([image * size + start for image, start in starts] + [images * size])
    ends = torch.searchsorted(foreground_index, lower).tolist()
    return [
        (
            image,
            slice(start, min(start + _CHUNK, size)),
            foreground_index[ends[n] : ends[n + 1]] - (image * size + start),
        )
        for n, (image, start) in enumerate(starts)
    ]


def _plus(total: torch.Tensor | None, weight: torch.Tensor, slope: torch.Tensor | float) -> torch.Tensor | None:
    if isinstance(slope, float):
        if slope == 0:
            return total
        product = weight if slope == 1 else weight * slope
        return product if total is None else total + product
    return weight * slope if total is None else torch.addcmul(total, weight, slope)


def _plain(x: torch.Tensor, plan: SumPlan) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as `split_sums` in plain operations: for accelerators, and for derivatives of derivatives."""
    background = torch.ones_like(x, dtype=torch.bool).view(-1).index_fill(0, plan.foreground_index, 0).view(x.shape)
    # What a foreground voxel holds must not reach a derivative, so it is replaced before, not after.
    calm = torch.where(background, x, _CALM[plan.activation.name])
    p, c = plan.activation.outside(calm)
    rows = []
    for cost, field in zip(plan.costs, plan.fields, strict=True):
        value = torch.where(background, cost.background(p, c, field), 0)
        if plan.groups is None:
            rows.append(value.sum(1))
        else:
            wide = value.new_zeros(plan.count, dtype=torch.float64)
            rows.append(wide.index_add(0, plan.groups.view(-1).int(), value.view(-1).double()).to(x.dtype))
    sums = torch.stack(rows) if rows else x.new_zeros(0, plan.count)
    return sums, x.reshape(-1)[plan.voxels]


_CALM = {"logits": 0.0, "log-probabilities": -1.0, "probabilities": 0.5}


def _calm_probability(x: torch.Tensor, plan: SumPlan) -> torch.Tensor:
    """Return p, zero in the foreground."""
    p = plan.activation.probability(x)
    p.view(-1).index_fill_(0, plan.foreground_index, 0)
    return p
