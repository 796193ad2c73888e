"""Sums over the background, and the few voxels that belong to a lesion.

Lesions are a small part of an image. The background (target 0) is summed in one sweep; the foreground leaves as a
short vector on which plain differentiable operations do the rest. The backward sweep writes the gradient once.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from multifocal.losses import pieces
from multifocal.losses.quantities import P, Quantity
from multifocal.losses.sources import PROBABILITIES, Source


@dataclass(frozen=True, eq=False)
class Plan:
    """What to sum, and where.

    Args:
        source: what x holds.
        quantities: summed over the background.
        fields: for each quantity its field, or None.
        ones: flat indices where the target is 1, ascending.
        voxels: flat indices of the voxels to take out.
        groups: for each voxel the group (from 0) that it is summed in; None means its image.
        count: how many groups there are.
        shape: of x.
    """

    source: Source
    quantities: tuple[Quantity, ...]
    fields: tuple[torch.Tensor | None, ...]
    ones: torch.Tensor
    voxels: torch.Tensor
    groups: torch.Tensor | None
    count: int
    shape: torch.Size

    @cached_property
    def pieces(self) -> list[pieces.Piece]:
        """What is worked on at a time."""
        return pieces.cut(self.shape[0], self.shape[1], self.ones)

    @property
    def simple(self) -> bool:
        """Whether only p is summed, and only by image."""
        return self.quantities == (P,) and self.groups is None


def split(x: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sums over each group's background, (quantities, groups), and x at the plan's voxels.

    Args:
        x: (images, voxels).
        plan: what and where.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _Split.apply(x, plan)
    return _plain(x, plan)


def _plain(x: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """The same as `split` in plain operations: for accelerators, and for derivatives of derivatives."""
    background = torch.ones_like(x, dtype=torch.bool).view(-1).index_fill(0, plan.ones, 0).view(x.shape)
    # What a foreground voxel holds must not reach a derivative, so it is replaced before, not after.
    calm = torch.where(background, x, _CALM[plan.source.name])
    p, c = plan.source.outside(calm)
    rows = []
    for quantity, field in zip(plan.quantities, plan.fields, strict=True):
        value = torch.where(background, quantity.background(p, c, field), 0)
        if plan.groups is None:
            rows.append(value.sum(1))
        else:
            wide = value.new_zeros(plan.count, dtype=torch.float64)
            rows.append(wide.index_add(0, plan.groups.view(-1).int(), value.view(-1).double()).to(x.dtype))
    sums = torch.stack(rows) if rows else x.new_zeros(0, plan.count)
    return sums, x.reshape(-1)[plan.voxels]


_CALM = {"logits": 0.0, "log-probabilities": -1.0, "probabilities": 0.5}


class _Split(torch.autograd.Function):
    """A sum of p alone is a few sweeps that keep p; anything else is computed again, where it is needed, in pieces."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
        # What is as large as the image is saved as a tensor, which autograd lets go when this node is done.
        ctx.save_for_backward(x, plan.groups, *plan.fields)
        ctx.plan, ctx.p = replace(plan, groups=None, fields=()), None
        inside = x.view(-1).index_select(0, plan.voxels)
        if plan.simple:
            ctx.p = _calm_probability(x, plan)
            return ctx.p.sum(1)[None], inside
        if not plan.quantities:
            return x.new_zeros(0, plan.count), inside
        return pieces.sums(x, plan).to(x.dtype), inside

    @staticmethod
    def backward(ctx, of_sums: torch.Tensor, of_voxels: torch.Tensor):  # type: ignore[no-untyped-def]
        x, groups, *fields = ctx.saved_tensors
        plan = replace(ctx.plan, groups=groups, fields=tuple(fields))
        if torch.is_grad_enabled():  # somebody wants the derivative of this derivative
            # Sums of no quantity depend on nothing.
            first = 0 if plan.quantities else 1
            outputs, weights = _plain(x, plan)[first:], (of_sums, of_voxels)[first:]
            return torch.autograd.grad(outputs, x, weights, create_graph=True)[0], None
        if plan.simple:
            # The gradient takes the place of p, which a second call computes again.
            p, ctx.p = _calm_probability(x, plan) if ctx.p is None else ctx.p, None
            gradient = plan.source.chain(p, of_sums[0, :, None], None, out=p)
        elif plan.quantities:
            gradient = torch.empty_like(x)
            pieces.pass_back(x, plan, of_sums, gradient)
        else:
            gradient = torch.zeros_like(x)
        flat = gradient.view(-1)
        if plan.quantities and plan.source is PROBABILITIES:  # the others are flat at p = 0
            flat.index_fill_(0, plan.ones, 0)
        flat.index_add_(0, plan.voxels, of_voxels)
        return gradient, None


def _calm_probability(x: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Return p, zero in the foreground."""
    p = plan.source.probability(x)
    p.view(-1).index_fill_(0, plan.ones, 0)
    return p
