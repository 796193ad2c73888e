"""Weights that change over the epochs."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from multifocal.config import Checked, NonNegative
from multifocal.errors import UserError


class Schedule(ABC):
    """A weight as a function of how far training has come, from 0 (first epoch) to 1 (last).

    Example:
        >>> schedule(2.0).at(0.5)
        2.0
    """

    def at(self, progress: float) -> float:
        """Return the weight.

        Args:
            progress: share of training that is done, 0 to 1.

        Returns:
            The weight at that moment.

        Raises:
            ValueError: the progress is no share of training.
        """
        return self._weight(checked_progress(progress))

    @abstractmethod
    def _weight(self, progress: float) -> float:
        """Return the weight at a progress that was checked."""

    @abstractmethod
    def times(self, factor: float) -> "Schedule":
        """Return the schedule multiplied by a number."""


@dataclass(frozen=True)
class ConstantWeight(Checked, Schedule):
    """Always the same weight.

    Args:
        value: the weight, 0 or more.

    Raises:
        UserError: the weight is negative or no finite number.

    Example:
        >>> ConstantWeight(0.5).at(1.0)
        0.5
    """

    called = "Constant"
    value: NonNegative

    def _weight(self, progress: float) -> float:
        return self.value

    def times(self, factor: float) -> "ConstantWeight":
        """Return the schedule multiplied by a number.

        Args:
            factor: the number.

        Returns:
            A new schedule.
        """
        return ConstantWeight(factor * self.value)


@dataclass(frozen=True)
class LinearRamp(Checked, Schedule):
    """From `first` to `last` in a straight line.

    Args:
        first: the weight at progress 0, which is 0 or more.
        last: the weight at progress 1, likewise.

    Raises:
        UserError: a weight is negative or no finite number.

    Example:
        >>> LinearRamp(2.0, 4.0).at(0.25)
        2.5
    """

    called = "Linear"
    first: NonNegative
    last: NonNegative

    def _weight(self, progress: float) -> float:
        return self.first + progress * (self.last - self.first)

    def times(self, factor: float) -> "LinearRamp":
        """Return the schedule multiplied by a number.

        Args:
            factor: the number.

        Returns:
            A new schedule.
        """
        return LinearRamp(factor * self.first, factor * self.last)


@dataclass(frozen=True)
class StepWeights(Checked, Schedule):
    """`values[i]` from the i-th of `starts` on, which are shares of training: the first is 0.

    Args:
        starts: the progress from which each weight holds, rising from 0 to at most 1.
        values: the weights, one for each start, 0 or more.

    Raises:
        UserError: a weight is negative, the starts do not rise from 0 to at most 1, or are not as many as the values.

    Example:
        >>> [StepWeights(starts=(0.0, 0.5), values=(0.0, 1.0)).at(t) for t in (0.0, 0.49, 0.5, 1.0)]
        [0.0, 0.0, 1.0, 1.0]
    """

    called = "Steps"
    starts: tuple[float, ...]
    values: tuple[NonNegative, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = all(a < b for a, b in zip(self.starts, (*self.starts[1:], 1.0 + 1e-9), strict=True))
        if not self.starts or self.starts[0] != 0 or not rising or len(self.starts) != len(self.values):
            raise UserError(f"starts={self.starts}, values={self.values}; expected as many, starts rising from 0")

    def _weight(self, progress: float) -> float:
        return self.values[bisect_right(self.starts, progress) - 1]

    def times(self, factor: float) -> "StepWeights":
        """Return the schedule multiplied by a number.

        Args:
            factor: the number.

        Returns:
            A new schedule.
        """
        return StepWeights(starts=self.starts, values=tuple(factor * value for value in self.values))


Weight = float | int | Schedule | tuple[float, float] | Mapping[str, Any]


def checked_progress(progress: float) -> float:
    """Return how far training has come, if it is a share of training.

    Args:
        progress: what is checked.

    Returns:
        The progress, as it is.

    Raises:
        ValueError: it is not.

    Example:
        >>> checked_progress(0.5)
        0.5
    """
    if not (isinstance(progress, Real) and 0 <= progress <= 1):
        raise ValueError(f"progress={progress!r}; expected a share of training, from 0 to 1")
    return progress


def schedule(weight: Any) -> Schedule:
    """Return a weight as a schedule: in Python and in YAML.

    Args:
        weight: a number, a pair of numbers for a ramp, `{first, last}`, `{starts, values}`, or a schedule.

    Returns:
        The schedule; one that never changes for a number.

    Raises:
        UserError: something else.

    Example:
        >>> schedule([0, 1])
        LinearRamp(first=0, last=1)
        >>> schedule({"starts": [0, 0.5], "values": [0, 1]}).at(0.7)
        1
    """
    if isinstance(weight, Schedule):
        return weight
    if isinstance(weight, Real) and not isinstance(weight, bool):
        return ConstantWeight(float(weight))
    if isinstance(weight, tuple | list) and len(weight) == 2:
        return LinearRamp(*weight)
    if isinstance(weight, Mapping) and set(weight) == {"first", "last"}:
        return LinearRamp(**weight)
    if isinstance(weight, Mapping) and set(weight) == {"starts", "values"}:
        return StepWeights(**{key: tuple(part) if isinstance(part, list) else part for key, part in weight.items()})
    raise UserError(
        f"weight={weight!r}; expected a number, a pair of numbers for a ramp, {{first, last}} or {{starts, values}}"
    )


def product(left: Schedule, right: Schedule) -> Schedule:
    """Return the product of two weights, one of which stays the same.

    Args:
        left: a weight.
        right: a weight.

    Returns:
        The schedule of the product.

    Raises:
        UserError: both change.

    Example:
        >>> product(ConstantWeight(2.0), LinearRamp(0.0, 1.0))
        LinearRamp(first=0.0, last=2.0)
    """
    if isinstance(left, ConstantWeight):
        return right.times(left.value)
    if isinstance(right, ConstantWeight):
        return left.times(right.value)
    raise UserError("a weight that changes was multiplied by another that changes; give one schedule for each term")
