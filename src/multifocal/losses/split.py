"""One pass over the voxels: sums over the background, and the few voxels that belong to a lesion.

Lesions are a small part of an image. The background (target 0) is summed in one sweep, in pieces that stay in the
processor's cache, with nothing of the image's size written; the foreground leaves as a short vector on which plain
differentiable operations do the rest. The backward sweep writes the gradient once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from multifocal.losses.quantities import LARGEST_COST, Quantity

# Voxels at a time: half a dozen buffers fit into the second-level cache, and torch starts no threads for so few.
_PIECE = 1 << 15
_PIECES_PER_THREAD = 4
_STEEPEST = 1e-12


@dataclass(frozen=True)
class Source:
    """How the network's output becomes probabilities."""

    name: str

    def outside(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return p and the cost of a target of 0, `-log(1 - p)`."""
        if self.name == "logits":
            return torch.sigmoid(x), functional.softplus(x)
        if self.name == "log-probabilities":  # softmax: only the target's own class costs
            return x.exp(), torch.zeros_like(x)
        return x, _cost(1 - x)

    def inside(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return p, `1 - p` and the cost of a target of 1, `-log p`."""
        if self.name == "logits":
            return torch.sigmoid(x), torch.sigmoid(-x), functional.softplus(-x)
        if self.name == "log-probabilities":
            return x.exp(), -x.expm1(), -x
        return x, 1 - x, _cost(x)

    def chain(
        self, p: torch.Tensor, by_p: torch.Tensor | None, by_c: torch.Tensor | None, *, out: torch.Tensor
    ) -> torch.Tensor:
        """Write the derivative by x where the target is 0, given those by p and by c (None: zero)."""
        if self.name == "logits":
            if by_p is None:
                out.zero_()
            else:
                torch.ops.aten.sigmoid_backward.grad_input(by_p.expand_as(p), p, grad_input=out)
            return out if by_c is None else out.addcmul_(p, by_c)
        out.copy_(p.new_zeros(()) if by_p is None else by_p)
        if self.name == "log-probabilities":
            return out.mul_(p)
        if by_c is not None:
            out.add_(by_c / (1 - p).clamp_min(_STEEPEST))
        return out


def _cost(p: torch.Tensor) -> torch.Tensor:
    """Return `-log p`, at most 100, with the slope `-1 / max(p, 1e-12)`, as in torch's binary cross-entropy.

    So certainty in the wrong class costs something finite and is still pushed back, with a finite force.
    """
    certain = p < _STEEPEST
    held = p.detach()
    steep = (-held.log()).clamp_max(LARGEST_COST) - (p - held) / _STEEPEST
    return torch.where(certain, steep, -torch.where(certain, 1, p).log())


LOGITS, LOG_PROBABILITIES, PROBABILITIES = Source("logits"), Source("log-probabilities"), Source("probabilities")


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
    """

    source: Source
    quantities: tuple[Quantity, ...]
    fields: tuple[torch.Tensor | None, ...]
    ones: torch.Tensor
    voxels: torch.Tensor
    groups: torch.Tensor | None
    count: int

    def look(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return p and the cost of the wrong class where the target is 0; the cost only if a quantity asks for it."""
        costly = any(quantity.costly for quantity in self.quantities)
        if not costly and self.source.name != "probabilities":
            p = torch.sigmoid(x) if self.source.name == "logits" else x.exp()
            return p, p
        return self.source.outside(x)


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
    p, c = plan.look(calm)
    rows = []
    for quantity, field in zip(plan.quantities, plan.fields, strict=True):
        value = torch.where(background, quantity.background(p, c, field), 0)
        if plan.groups is None:
            rows.append(value.sum(1))
        else:
            wide = value.new_zeros(plan.count, dtype=torch.float64)
            rows.append(wide.index_add(0, plan.groups.view(-1), value.view(-1).double()).to(x.dtype))
    sums = torch.stack(rows) if rows else x.new_zeros(0, plan.count)
    return sums, x.reshape(-1)[plan.voxels]


_CALM = {"logits": 0.0, "log-probabilities": -1.0, "probabilities": 0.5}


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.plan = plan
        inside = x.reshape(-1)[plan.voxels]
        sums = torch.zeros(len(plan.quantities), plan.count, dtype=torch.float64)
        if plan.quantities:
            sums = sum(_shared(_pieces(x, plan), lambda pieces: _add_up(x, plan, pieces)), sums)
        return sums.to(x.dtype), inside

    @staticmethod
    def backward(ctx, of_sums: torch.Tensor, of_voxels: torch.Tensor):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        plan = ctx.plan
        if torch.is_grad_enabled():  # somebody wants the derivative of this derivative
            # Sums of no quantity depend on nothing.
            first = 0 if plan.quantities else 1
            outputs, weights = _plain(x, plan)[first:], (of_sums, of_voxels)[first:]
            return torch.autograd.grad(outputs, x, weights, create_graph=True)[0], None
        if plan.quantities:
            gradient = torch.empty_like(x)
            _shared(_pieces(x, plan), lambda pieces: _pass_back(x, plan, pieces, of_sums, gradient))
        else:
            gradient = torch.zeros_like(x)
        gradient.view(-1).index_add_(0, plan.voxels, of_voxels)
        return gradient, None


_Piece = tuple[int, slice, torch.Tensor]


def _pieces(x: torch.Tensor, plan: Plan) -> list[_Piece]:
    """Return image, piece and the foreground's indices in the piece."""
    images, size = x.shape
    starts = [(image, start) for image in range(images) for start in range(0, size, _PIECE)]
    lower = torch.tensor([image * size + start for image, start in starts] + [images * size])
    ends = torch.searchsorted(plan.ones, lower).tolist()
    return [
        (image, slice(start, min(start + _PIECE, size)), plan.ones[ends[n] : ends[n + 1]] - (image * size + start))
        for n, (image, start) in enumerate(starts)
    ]


def _shared(pieces: list[Any], work: Callable[[list[Any]], Any]) -> list[Any]:
    """Share pieces out to as many threads as torch may use; each takes a run of them."""
    threads = min(torch.get_num_threads(), len(pieces) // _PIECES_PER_THREAD)
    if threads < 2:
        return [work(pieces)]
    inference = torch.is_inference_mode_enabled()  # which other threads would not know

    def alike(run: list[Any]) -> Any:
        with torch.inference_mode(inference):
            return work(run)

    runs = [pieces[len(pieces) * n // threads : len(pieces) * (n + 1) // threads] for n in range(threads)]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(alike, run) for run in runs[1:]]
        return [work(runs[0]), *(other.result() for other in others)]


def _add_up(x: torch.Tensor, plan: Plan, pieces: list[_Piece]) -> torch.Tensor:
    """Return the sums over the background of some pieces."""
    sums = torch.zeros(len(plan.quantities), plan.count, dtype=torch.float64)
    table = [[0.0] * plan.count for _ in plan.quantities]
    with torch.no_grad():  # which other threads would not know
        for image, piece, ones in pieces:
            p, c = plan.look(x[image, piece])
            if len(ones):  # every quantity is zero where both are
                p, c = p.index_fill(0, ones, 0), c.index_fill(0, ones, 0)
            for row, (quantity, field) in enumerate(zip(plan.quantities, plan.fields, strict=True)):
                value = quantity.background(p, c, None if field is None else field[image, piece])
                if plan.groups is None:
                    table[row][image] += value.sum().item()
                else:
                    sums[row].index_add_(0, plan.groups[image, piece], value.double())
    return sums if plan.groups is not None else torch.tensor(table, dtype=torch.float64)


def _pass_back(
    x: torch.Tensor, plan: Plan, pieces: list[_Piece], of_sums: torch.Tensor, gradient: torch.Tensor
) -> None:
    """Write the gradient of the background's sums by some pieces."""
    with torch.no_grad():
        for image, piece, ones in pieces:
            p, c = plan.look(x[image, piece])
            by_p: torch.Tensor | None = None
            by_c: torch.Tensor | None = None
            for row, (quantity, field) in enumerate(zip(plan.quantities, plan.fields, strict=True)):
                weight = (
                    of_sums[row, image]
                    if plan.groups is None
                    else of_sums[row].index_select(0, plan.groups[image, piece])
                )
                first, second = quantity.slopes(p, c, None if field is None else field[image, piece])
                by_p, by_c = _plus(by_p, weight, first), _plus(by_c, weight, second)
            result = plan.source.chain(p, by_p, by_c, out=gradient[image, piece])
            if len(ones):
                result.index_fill_(0, ones, 0)


def _plus(total: torch.Tensor | None, weight: torch.Tensor, slope: torch.Tensor | float) -> torch.Tensor | None:
    if isinstance(slope, float):
        if slope == 0:
            return total
        product = weight if slope == 1 else weight * slope
        return product if total is None else total + product
    return weight * slope if total is None else torch.addcmul(total, weight, slope)


def above(x: torch.Tensor, source: Source, threshold: float, *, closed: bool) -> torch.Tensor:
    """Return where p >= threshold, or p > threshold if not closed; a boolean tensor of x's shape."""
    mask = torch.empty(x.shape, dtype=torch.bool, device=x.device)
    compare = torch.ge if closed else torch.gt
    activation = {"logits": torch.sigmoid, "log-probabilities": torch.exp}.get(source.name)
    flat, found = x.detach().view(-1), mask.view(-1)
    step = _PIECE if x.device.type == "cpu" else len(flat)

    def work(starts: list[int]) -> None:
        for start in starts:
            p = flat[start : start + step]
            compare(p if activation is None else activation(p), threshold, out=found[start : start + step])

    _shared(list(range(0, len(flat), step)), work)
    return mask
