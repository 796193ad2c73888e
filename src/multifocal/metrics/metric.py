"""What a metric is, and the registry of them all. Tables, summaries and files go by it.

What empty masks score, everywhere. "none" is a mask without a lesion, "some" one with at least one:

| target | prediction | dice, nsd | masd, assd, hd95 | sensitivity, sen | precision, ppv | f1, rq, sq, pq, cc_dice |
|--------|------------|-----------|------------------|------------------|----------------|-------------------------|
| none   | none       | 1         | 0                | 1                | 1              | 1                       |
| none   | some       | 0         | undefined        | undefined        | 0              | 0                       |
| some   | none       | 0         | undefined        | 0                | undefined      | 0                       |

`fnr` is 1 - `sen` and `fdr` is 1 - `ppv`, undefined where those are: a rate of no lesions says nothing. At lesion level
"some" means a lesion that is not left out for its size. Undefined is NaN; what stands for it in a mean is said by
`multifocal.evaluation.summarize`, beside the count of such cases.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from multifocal.errors import unknown_name
from multifocal.metrics.mask_pair import MaskPair
from multifocal.registry import Registry

Best = Literal["highest", "lowest", "zero"]
Level = Literal["case", "lesion"]
Undefined = Literal["skip", "diagonal"]
MetricFunction = Callable[[MaskPair], float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number of a case: how it is computed, and what it means.

    Attributes:
        name: what users type, and the column in files.
        function: computes it from a `MaskPair`; NaN where it is undefined.
        heading: in tables.
        unit: "1" for a number without one.
        best: where it is best; None for a plain measurement.
        range: the lowest and the highest value that is possible.
        undefined_when: the empty masks for which it is undefined, in words; None where it never is.
        is_distance: whether the image's diagonal, in mm, can stand where it is undefined.
        level: whether it is of voxels and surfaces ("case") or of lesions one by one ("lesion").

    Example:
        >>> METRICS["masd"].unit, METRICS["masd"].best, METRICS["masd"].range
        ('mm', 'lowest', (0, inf))
    """

    name: str
    function: MetricFunction
    heading: str
    unit: Literal["1", "mm", "ml"]
    best: Best | None
    range: tuple[float, float]
    undefined_when: str | None = None
    is_distance: bool = False
    level: Level = "case"

    @property
    def is_own(self) -> bool:
        """Whether the metric is one of multifocal's, which every evaluation holds."""
        return self.function.__module__.startswith("multifocal.")


METRICS: Registry[Metric] = Registry(
    "metric",
    package="multifocal.metrics.named",
    group="multifocal.metrics",
    callable_of=lambda metric: metric.function,
)
"""Every metric by name, in the order of tables and files; those of other packages come last."""


def metric(name: str, **facts: Any) -> Callable[[MetricFunction], MetricFunction]:
    """Return a decorator that registers a function of a `MaskPair` as a metric.

    From then on `evaluate_case`, the files of an evaluation, its summary and its tables have it.

    Args:
        name: what users type, and the column in files.
        **facts: the other fields of `Metric`: heading, unit, best, range, undefined_when, is_distance, level.

    Returns:
        The decorator, which gives the function back.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> @metric("dice", heading="Dice", unit="1", best="highest", range=(0, 1))
        ... def my_dice(pair: MaskPair) -> float:
        ...     return pair.overlap.dice
        Traceback (most recent call last):
        ValueError: metric name 'dice' is taken by multifocal.metrics.named.case_level.dice
    """

    def register(function: MetricFunction) -> MetricFunction:
        METRICS.register(name, Metric(name=name, function=function, **facts))
        return function

    return register


def check_undefined(rule: str) -> None:
    """Raise `UserError` unless the rule says what stands for an undefined distance.

    Args:
        rule: "skip" or "diagonal".

    Raises:
        UserError: another rule.
    """
    if rule not in get_args(Undefined):
        raise unknown_name("rule for undefined metrics", rule, get_args(Undefined))
