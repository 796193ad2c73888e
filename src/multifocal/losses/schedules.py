"""Weights that change over the epochs."""

from abc import abstractmethod
from dataclasses import dataclass


class Schedule:
    """A weight as a function of how far training has come, from 0 (first epoch) to 1 (last)."""

    @abstractmethod
    def at(self, progress: float) -> float:
        """Return the weight."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Always the same weight."""

    value: float

    def at(self, progress: float) -> float:
        """Return the weight."""
        return self.value


@dataclass(frozen=True)
class Linear(Schedule):
    """From `first` to `last` in a straight line.

    Example:
        >>> Linear(2.0, 4.0).at(0.25)
        2.5
    """

    first: float
    last: float

    def at(self, progress: float) -> float:
        """Return the weight."""
        return self.first + progress * (self.last - self.first)


@dataclass(frozen=True)
class Steps(Schedule):
    """`values[i]` from the i-th of `starts` on, which are shares of training: the first is 0.

    Raises:
        ValueError: the starts do not rise from 0, or are not as many as the values.

    Example:
        >>> [Steps(starts=(0.0, 0.5), values=(0.0, 1.0)).at(t) for t in (0.0, 0.49, 0.5, 1.0)]
        [0.0, 0.0, 1.0, 1.0]
    """

    starts: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.starts, self.starts[1:], strict=False))
        if not self.starts or self.starts[0] != 0 or not rising or len(self.starts) != len(self.values):
            raise ValueError(f"starts={self.starts}, values={self.values}; expected as many, starts rising from 0")

    def at(self, progress: float) -> float:
        """Return the weight."""
        return next(value for start, value in reversed(list(zip(self.starts, self.values))) if progress >= start)  # noqa: B905


Weight = float | int | Schedule


def schedule(weight: "Weight | tuple[float, float]") -> Schedule:
    """Return a weight as a schedule: a number, a pair for a ramp, or one already.

    Raises:
        ValueError: something else.
    """
    if isinstance(weight, Schedule):
        return weight
    if isinstance(weight, int | float) and not isinstance(weight, bool):
        return Constant(float(weight))
    if isinstance(weight, tuple | list) and len(weight) == 2:
        return Linear(float(weight[0]), float(weight[1]))
    raise ValueError(f"weight={weight!r}; expected a number, a pair of numbers for a ramp, or a schedule")
