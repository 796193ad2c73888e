"""How terms become sums: `0.9 * Tversky() + 0.1 * LogHausdorff()`."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from multifocal.losses.schedules import Schedule, Weight, schedule

if TYPE_CHECKING:
    from multifocal.losses.compound import Compound
    from multifocal.losses.quantities import Quantity
    from multifocal.losses.scene import Scene


class Expression:
    """Something that can be weighted, added, and called as a loss."""

    @property
    @abstractmethod
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The terms and their weights."""

    def __mul__(self, weight: Weight) -> "Sum":
        return Sum(tuple((term, _product(schedule(weight), own)) for term, own in self.weighted))

    __rmul__ = __mul__

    def __add__(self, other: "Expression") -> "Sum":
        if not isinstance(other, Expression):
            return NotImplemented
        return Sum((*self.weighted, *other.weighted))

    def build(self, **options: Any) -> "Compound":
        """Return the loss module; the options are those of `Options`."""
        from multifocal.losses.compound import Compound

        return Compound(self, **options)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, **precomputed: Any) -> torch.Tensor:
        """Return the loss of logits with default options; `build` sets others."""
        return self.build()(logits, target, **precomputed)


class Term(Expression):
    """One term of a loss: a scalar of a scene."""

    name: str

    @property
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The term itself, with weight one."""
        return ((self, schedule(1.0)),)

    def over(self, partition: str, **options: Any) -> "Term":
        """Return the term over regions of the image, which only a criterion can be.

        Raises:
            ValueError: the term is no criterion.
        """
        raise ValueError(f"over={partition!r}: {self.name} measures images as they are; expected a criterion")

    @property
    @abstractmethod
    def needs(self) -> "tuple[tuple[Quantity, ...], bool]":
        """Which quantities the term sums by image, lesion or pair, and whether it looks at predicted components."""

    @abstractmethod
    def measure(self, scene: "Scene") -> torch.Tensor:
        """Return the term's value, a scalar."""


class Sum(Expression):
    """A weighted sum of terms."""

    def __init__(self, weighted: "tuple[tuple[Term, Schedule], ...]") -> None:
        self._weighted = weighted

    @property
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The terms and their weights."""
        return self._weighted


def _product(left: Schedule, right: Schedule) -> Schedule:
    from multifocal.losses.schedules import Constant, Linear, Steps

    for one, other in ((left, right), (right, left)):
        if isinstance(one, Constant):
            factor = one.value
            if isinstance(other, Constant):
                return Constant(factor * other.value)
            if isinstance(other, Linear):
                return Linear(factor * other.first, factor * other.last)
            if isinstance(other, Steps):
                return Steps(starts=other.starts, values=tuple(factor * value for value in other.values))
    raise ValueError("a weight that changes was multiplied by another that changes; give one schedule for each term")
