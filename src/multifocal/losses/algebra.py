"""How terms become sums: `0.9 * Tversky() + 0.1 * LogHausdorff()`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from multifocal.errors import UserError
from multifocal.losses.schedules import Schedule, Weight, product, schedule

if TYPE_CHECKING:
    from multifocal.losses.compound import Compound
    from multifocal.losses.quantities import Quantity
    from multifocal.losses.scene import Scene


class Expression(ABC):
    """Something that can be weighted, added, and called as a loss.

    Example:
        >>> from multifocal.losses import Dice, Focal
        >>> sum([Dice(), 0.5 * Focal()]).build().weights
        {'dice': 1.0, 'focal': 0.5}
    """

    @property
    @abstractmethod
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The terms and their weights."""

    def __mul__(self, weight: Weight) -> "Sum":
        return Sum(tuple((term, product(schedule(weight), own)) for term, own in self.weighted))

    __rmul__ = __mul__

    def __add__(self, other: "Expression") -> "Sum":
        if not isinstance(other, Expression):
            return NotImplemented
        return Sum((*self.weighted, *other.weighted))

    def __radd__(self, other: int) -> "Sum":
        if isinstance(other, int) and other == 0:  # where sum() begins
            return Sum(self.weighted)
        return NotImplemented

    def build(self, **options: Any) -> "Compound":
        """Return the loss module; the options are those of `Options`."""
        from multifocal.losses.compound import Compound

        return Compound(self, **options)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, **precomputed: Any) -> torch.Tensor:
        """Return the loss of logits with default options; `build` sets others."""
        return self.build()(logits, target, **precomputed)


@dataclass(frozen=True)
class Needs:
    """What a term wants of a scene.

    Args:
        quantities: what it sums by image, lesion or pair.
        predicted: whether it looks at predicted components.
        classes: whether it sees softmax's classes together (see `Door`).
    """

    quantities: "tuple[Quantity, ...]" = ()
    predicted: bool = False
    classes: bool = False


class Term(Expression):
    """One term of a loss: a scalar of a scene.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("blobs").name
        'dice over blobs'
    """

    name: str

    @property
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The term itself, with weight one."""
        return ((self, schedule(1.0)),)

    def over(self, partition: str, /, **options: Any) -> "Term":
        """Return the term over regions of the image, which only a criterion can be.

        Raises:
            UserError: the term is no criterion.
        """
        raise UserError(f"over={partition!r}: {self.name} measures images as they are; expected a criterion")

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What a scene must hold."""

    @abstractmethod
    def measure(self, scene: "Scene") -> torch.Tensor:
        """Return the term's value, a scalar."""


class Sum(Expression):
    """A weighted sum of terms.

    Example:
        >>> from multifocal.losses import Dice, Focal
        >>> [term.name for term, _ in (Dice() + Focal()).weighted]
        ['dice', 'focal']
    """

    def __init__(self, weighted: "tuple[tuple[Term, Schedule], ...]") -> None:
        self._weighted = weighted

    @property
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The terms and their weights."""
        return self._weighted
