"""How the network's output becomes probabilities, and the cost of each class."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

# The cost of certainty in the wrong class, where probabilities are given: as torch's binary cross-entropy.
_LARGEST_COST = 100.0
_STEEPEST = 1e-12


@dataclass(frozen=True)
class Activation:
    """What a tensor holds.

    Args:
        name: "logits", "log-probabilities" or "probabilities".
    """

    name: str

    def probability(self, x: torch.Tensor) -> torch.Tensor:
        """Return p, a tensor of its own."""
        if self.name == "probabilities":
            return x.clone()
        return torch.sigmoid(x) if self.name == "logits" else x.exp()

    def outside(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return p and the cost of a target of 0, `-log(1 - p)`."""
        if self.name == "logits":
            return torch.sigmoid(x), functional.softplus(x)
        if self.name == "log-probabilities":  # softmax: only the target's own class costs
            return x.exp(), torch.zeros_like(x)
        return x, _cost(1 - x)

    def background(
        self, x: torch.Tensor, foreground_index: torch.Tensor, *, costly: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return p and the cost of a target of 0, if asked for; in the foreground p = 0, which costs nothing."""
        p = self.probability(x)
        if len(foreground_index):
            p.index_fill_(0, foreground_index, 0)
        if not costly:
            return p, p
        c = functional.softplus(x) if self.name == "logits" else self.outside(x)[1]
        return p, c.index_fill_(0, foreground_index, 0) if len(foreground_index) else c

    def chain(
        self, p: torch.Tensor, by_p: torch.Tensor | None, by_c: torch.Tensor | None, *, out: torch.Tensor
    ) -> torch.Tensor:
        """Write the derivative by x where the target is 0, given those by p and by c (None: zero).

        `out` may be p itself if by_c is None.
        """
        if self.name == "logits":
            if by_p is None:
                return out.zero_() if by_c is None else torch.mul(p, by_c, out=out)
            torch.ops.aten.sigmoid_backward.grad_input(by_p.expand_as(p), p, grad_input=out)
            return out if by_c is None else out.addcmul_(p, by_c)
        by_p = p.new_zeros(()) if by_p is None else by_p
        if self.name == "log-probabilities":
            return torch.mul(p, by_p, out=out)
        out.copy_(by_p)
        if by_c is not None:
            out.add_(by_c / (1 - p).clamp_min(_STEEPEST))
        return out


LOGITS, LOG_PROBABILITIES, PROBABILITIES = (
    Activation("logits"),
    Activation("log-probabilities"),
    Activation("probabilities"),
)


class Foreground:
    """What there is at voxels where the target is 1, computed when asked for.

    Args:
        x: at these voxels.
        activation: what x holds.
        is_background: with softmax's classes together, which of them are of class 0.
    """

    def __init__(self, x: torch.Tensor, activation: Activation, *, is_background: torch.Tensor | None = None) -> None:
        self._x, self._name, self.is_background = x, activation.name, is_background

    @cached_property
    def p(self) -> torch.Tensor:
        """The probability."""
        return {"logits": torch.sigmoid, "log-probabilities": torch.exp}.get(self._name, torch.clone)(self._x)

    @cached_property
    def q(self) -> torch.Tensor:
        """`1 - p`, to the last digit where p is near one."""
        if self._name == "logits":
            return torch.sigmoid(-self._x)
        return 1 - self._x if self._name == "probabilities" else -self._x.expm1()

    @cached_property
    def c(self) -> torch.Tensor:
        """The cost of a target of 1, `-log p`."""
        if self._name == "logits":
            return functional.softplus(-self._x)
        return _cost(self._x) if self._name == "probabilities" else -self._x


def _cost(p: torch.Tensor) -> torch.Tensor:
    """Return `-log p`, at most 100, with the slope `-1 / max(p, 1e-12)`, as in torch's binary cross-entropy.

    So certainty in the wrong class costs something finite and is still pushed back, with a finite force.
    """
    certain = p < _STEEPEST
    held = p.detach()
    steep = (-held.log()).clamp_max(_LARGEST_COST) - (p - held) / _STEEPEST
    return torch.where(certain, steep, -torch.where(certain, 1, p).log())
