"""What a loss is: terms, weighted sums of them (`0.9 * Tversky() + 0.1 * LogHausdorff()`), and the module of a sum."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import nn

from multifocal.errors import UserError, unknown_name
from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.inputs import LossInput, Options
from multifocal.losses.schedules import (
    ConstantWeight,
    LinearRamp,
    Schedule,
    Weight,
    checked_progress,
    product,
    schedule,
)
from multifocal.losses.soft_sums import SoftSums
from multifocal.losses.voxel_costs import P, VoxelCost
from multifocal.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Needs:
    """What a term asks of `BatchSums`.

    Args:
        costs: what it sums by image, lesion or pair.
        predicted: whether it looks at predicted components.
        classes: whether it sees softmax's classes together (see `LossInput`).
        shares: whether it sees soft and smoothed labels as they are, and not 1 from a half on.
    """

    costs: tuple[VoxelCost, ...] = ()
    predicted: bool = False
    classes: bool = False
    shares: bool = False


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

    def build(self, **options: Any) -> "CompoundLoss":
        """Return the loss module.

        Args:
            **options: see `Options`: activation, spacing, connectivity, threshold, include_background, relaxed,
                ignore, class_weights, reduction, soft_labels, label_smoothing.

        Returns:
            What is called with logits and target.
        """
        return CompoundLoss(self, **options)

    def __call__(self, logits: torch.Tensor, target: torch.Tensor, **precomputed: Any) -> torch.Tensor:
        """Return the loss of logits with default options; `build` sets others."""
        return self.build()(logits, target, **precomputed)


class Term(Expression):
    """One term of a loss: a scalar of a batch.

    Example:
        >>> from multifocal.losses import Dice
        >>> Dice().over("blobs").name
        'dice over blobs'
    """

    name: str
    follows: frozenset[str] = frozenset()
    """Which of the options `ignore` and `class_weights` it goes by; a loss with others refuses it."""

    joins_images = False
    """Whether it was asked to take all images for one, so that none has a value of its own."""

    @property
    def weighted(self) -> "tuple[tuple[Term, Schedule], ...]":
        """The term itself, with weight one."""
        return ((self, schedule(1.0)),)

    def over(self, partition: str, /, **options: Any) -> "Term":
        """Return the term over regions of the image, which only a criterion can be.

        Args:
            partition: a region's name: image, blobs, instances, predictions, cells, weighted or another registered one.
            **options: those of the region.

        Returns:
            The criterion over these regions.

        Raises:
            UserError: the term is no criterion.
        """
        raise UserError(f"over={partition!r}: {self.name} measures images as they are; expected a criterion")

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""

    @abstractmethod
    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the term's value, a scalar."""


# Terms by the names that they have in YAML.
TERMS: Registry[Callable[..., Term]] = Registry("term", group="multifocal.loss_terms")


class Sum(Expression):
    """A weighted sum of terms.

    Args:
        weighted: each term with its weight.

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


def _not_compiled(method: Callable[..., T]) -> Callable[..., T]:
    """Return a method that torch.compile leaves alone, with all that it calls.

    As `torch.compiler.disable`, which imports the compiler at once: a second that those who do not compile save.
    """

    @wraps(method)
    def call(*args: Any, **options: Any) -> T:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(method)(*args, **options)
        return method(*args, **options)

    return call


class CompoundLoss(nn.Module):
    """A weighted sum of terms: `L = Σ w_i(t) L_i`, where `t` in [0, 1] is how far training has come.

    With `reduction="none"` each term and the loss are one number an image, (B,): those of the image alone.

    Args:
        expression: terms and weights, such as `0.9 * Tversky() + 0.1 * LogHausdorff()`.
        **options: see `Options`: activation, spacing, connectivity, threshold, include_background, relaxed, ignore,
            class_weights, reduction, soft_labels, label_smoothing.

    Raises:
        UserError: no expression; an option that there is not, or that cannot be.

    Example:
        >>> from multifocal.losses import Dice, Focal, LinearRamp
        >>> loss = CompoundLoss(Dice() + LinearRamp(2.0, 4.0) * Focal(gamma=3.0))
        >>> loss.progress = 0.5
        >>> logits, target = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
        >>> {name: round(float(value), 3) for name, value in loss.terms(logits, target).items()}
        {'dice': 0.333, 'focal': 0.087}
        >>> round(float(loss(logits, target)), 3)
        0.593
    """

    def __init__(self, expression: Expression, **options: Any) -> None:
        super().__init__()
        if not isinstance(expression, Expression):
            raise UserError(
                f"loss is {expression!r}; expected terms and weights, such as 0.9 * Tversky() + 0.1 * Focal()"
            )
        known = [field.name for field in fields(Options)]
        for name in options:
            if name not in known:
                raise unknown_name("option", name, known)
        self.options = Options(**options)
        self._terms: dict[str, Term] = {}
        self._schedules: dict[str, Schedule] = {}
        for term, weight in expression.weighted:
            name = term.name
            while name in self._terms:
                name += "'"
            self._terms[name], self._schedules[name] = term, weight
        self._progress = 0.0
        for option in ("ignore", "class_weights"):
            if getattr(self.options, option) is not None:
                self._check_follows(option)
        if self.options.label_smoothing and not any(_takes_smoothing(term.needs) for term in self._terms.values()):
            raise UserError(
                f"label_smoothing={self.options.label_smoothing}: {', '.join(self._terms)} has no cross-entropy or "
                "focal over the image, and nothing would be smoothed; leave it out"
            )
        joined = [name for name, term in self._terms.items() if term.joins_images]
        if joined and self.options.reduction != "mean":
            raise UserError(
                f"reduction={self.options.reduction!r}: {joined[0]} is over all images at once, batch=True, and has no "
                "value of one image; leave one of the two out"
            )

    def _check_follows(self, option: str) -> None:
        """Raise `UserError` for a term, of another package, that knows nothing of an option."""
        for name, term in self._terms.items():
            if option not in term.follows:
                raise UserError(f"{option}: {name} does not go by it (see `Term.follows`); leave one of the two out")

    @property
    def progress(self) -> float:
        """How far training has come, from 0 to 1: what weights that change go by."""
        return self._progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._progress = checked_progress(value)

    @property
    def weights(self) -> dict[str, Any]:
        """The weight of each term: a number, a pair for a ramp, or a schedule."""
        return {name: _plain(schedule) for name, schedule in self._schedules.items()}

    def forward(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
        ignore: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss, a scalar; with `reduction="none"` one number for each image, (B,).

        Args:
            logits: (B, C, *spatial), 2D or 3D; probabilities with `activation="none"`.
            target: zeros and ones of the same shape, of any type; with softmax also class numbers, (B, 1, *spatial) or
                (B, *spatial).
            instances: the target's lesions as integer labels, (B, C, *spatial), if they were made beforehand. Losses
                that look at no lesions check their type and shape, and do not use them.
            distances: `target_distances(target)`, if they were made beforehand; likewise. Those of another target, or
                of a spacing with the same smallest side, are not noticed.
            cells: `target_cells(target)`, if they were made beforehand; likewise. Those of another spacing are not
                noticed.
            ignore: True where a voxel is ignored, boolean (B, *spatial), (B, 1, *spatial) or of the logits' shape;
                besides those with the value that the option `ignore` names. Nothing that they hold counts, in
                `instances`, `distances` and `cells` neither; make the last two with the same `ignore`.

        Returns:
            A scalar, or (B,), in float32, or float64 where the logits are.

        Raises:
            ValueError: input that does not fit.
        """
        return self.combine(
            self.terms(logits, target, instances=instances, distances=distances, cells=cells, ignore=ignore)
        )

    @_not_compiled
    def terms(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
        ignore: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return each unweighted term by name; the arguments are those of `forward`.

        Args:
            logits: (B, C, *spatial), 2D or 3D; probabilities with `activation="none"`.
            target: zeros and ones of the same shape; with softmax also class numbers, (B, 1, *spatial) or
                (B, *spatial).
            instances: the target's lesions as integer labels, (B, C, *spatial); None finds them.
            distances: `target_distances(target)`, (B, C, *spatial); None computes them.
            cells: `target_cells(target)`, (B, C, *spatial); None computes them.
            ignore: True where a voxel is ignored, (B, *spatial), (B, 1, *spatial) or (B, C, *spatial); None for none.

        Returns:
            Scalars, or (B,), by the term's name, to which a prime is added where it occurs before.

        Raises:
            ValueError: input that does not fit.
        """
        device = logits.device.type if isinstance(logits, torch.Tensor) else "cpu"
        if ignore is not None:
            self._check_follows("ignore")
        with torch.autocast(device, enabled=False):
            loss_input = LossInput(
                logits, target, self.options, instances=instances, distances=distances, cells=cells, ignore=ignore
            )
            if self.options.reduction == "mean":
                return self._measured(loss_input)
            parts = [self._measured(image) for image in loss_input.images()]
            by_image = {name: torch.stack([part[name] for part in parts]) for name in self._terms}
        return by_image if self.options.reduction == "none" else {n: values.sum(0) for n, values in by_image.items()}

    def _measured(self, loss_input: LossInput) -> dict[str, torch.Tensor]:
        values: dict[str, torch.Tensor] = {}
        for classes, soft in ((False, False), (False, True), (True, False), (True, True)):
            terms = {
                name: term
                for name, term in self._terms.items()
                if (loss_input.softmax and term.needs.classes) == classes
                and (loss_input.is_soft and term.needs.shares) == soft
            }
            if terms:
                batch_sums = self._batch_sums(loss_input, terms, classes=classes, soft=soft)
                values |= {name: term.measure(batch_sums) for name, term in terms.items()}
        return {name: values[name] for name in self._terms}

    def _batch_sums(self, loss_input: LossInput, terms: Mapping[str, Term], *, classes: bool, soft: bool) -> BatchSums:
        needs = [term.needs for term in terms.values()]
        return (SoftSums if soft else BatchSums)(
            loss_input.view(classes=classes, soft=soft),
            options=self.options,
            costs=[cost for need in needs for cost in need.costs],
            predicted=any(need.predicted for need in needs),
        )

    def combine(self, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of terms, at the present progress.

        Args:
            values: what `terms` returned.

        Returns:
            A scalar; (B,) with `reduction="none"`.
        """
        weighted = [self._schedules[name].at(self.progress) * value for name, value in values.items()]
        return torch.stack(weighted).sum(0)

    def extra_repr(self) -> str:
        """Return the sum as it is written."""
        return " + ".join(f"{weight} {name}" for name, weight in self.weights.items())


def _takes_smoothing(needs: Needs) -> bool:
    return needs.shares and any(cost != P for cost in needs.costs)


def _plain(schedule: Schedule) -> Any:
    if isinstance(schedule, ConstantWeight):
        return schedule.value
    return (schedule.first, schedule.last) if isinstance(schedule, LinearRamp) else schedule
