"""What a comparison finds. `comparison.json` holds the same fields under the same names."""

from dataclasses import asdict, dataclass
from typing import Any

from multifocal.evaluation.wording import Wording, recorded_wording


@dataclass(frozen=True)
class Score:
    """One metric of one method over the cases of a group. What no case defines is None.

    Attributes:
        mean: over the `n` values; for a metric that is best at zero, the mean of the absolute values.
        low: lower end of the interval of the mean; None with fewer than two values.
        high: upper end.
        signed_mean: for a metric that is best at zero, the mean with signs, in which errors of both signs cancel.
        n: how many cases have a value (under "diagonal", undefined distances have one).
        undefined: in how many cases the metric is undefined.
        rule: what was done with those, "skip" or "diagonal".
        rank: of the mean among the methods, 1 is best; ties share the mean of their places, no mean is last.
        first: share of the bootstrap samples in which the method is ranked first; ties share a sample evenly.

    Example:
        >>> Score(0.5, 0.4, 0.6, None, n=8, undefined=0, rule="skip", rank=1.0, first=0.9).mean
        0.5
    """

    mean: float | None
    low: float | None
    high: float | None
    signed_mean: float | None
    n: int
    undefined: int
    rule: str
    rank: float | None
    first: float | None


@dataclass(frozen=True)
class MeanRank:
    """Mean of the ranks over several metrics.

    Attributes:
        rank: the mean; None where one of the metrics is not compared.
        first: share of the bootstrap samples in which it is the best; ties share a sample evenly.

    Example:
        >>> MeanRank(rank=1.5, first=0.75).rank
        1.5
    """

    rank: float | None
    first: float | None


@dataclass(frozen=True)
class Method:
    """All of one method.

    Attributes:
        metrics: scores by metric.
        mean_ranks: by name, see `MEAN_RANKS`.

    Example:
        >>> Method(metrics={}, mean_ranks={"RA": MeanRank(1.0, 0.9)}).mean_ranks["RA"].first
        0.9
    """

    metrics: dict[str, Score]
    mean_ranks: dict[str, MeanRank]


@dataclass(frozen=True)
class Difference:
    """One metric of a pair of methods, case by case: the first method's value minus the second's.

    Attributes:
        mean: over the cases that have a value in both (absolute values first, where zero is best).
        low: lower end of the interval of the mean; None with fewer than two cases.
        high: upper end.
        n: how many cases have a value in both.
        nonzero: in how many of them the two differ; the test is about these.
        p: two-sided Wilcoxon signed-rank test; 1 when they differ nowhere, None when n is 0.
        p_holm: the same after Holm's correction over every test of the group.
        note: what limits the test, or empty.

    Example:
        >>> Difference(0.1, 0.05, 0.15, n=8, nonzero=8, p=0.0078125, p_holm=0.0078125, note="").p
        0.0078125
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    nonzero: int
    p: float | None
    p_holm: float | None
    note: str


@dataclass(frozen=True)
class MethodPair:
    """Two methods and their differences.

    Attributes:
        first: name of the one method.
        second: name of the other.
        metrics: differences by metric, first minus second.

    Example:
        >>> MethodPair("a", "b", metrics={}).second
        'b'
    """

    first: str
    second: str
    metrics: dict[str, Difference]


@dataclass(frozen=True)
class Group:
    """The comparison over some cases: all of them, or those of one stratum.

    Attributes:
        cases: how many.
        methods: by name.
        pairs: every two methods.
        tests: size of the family that Holm's correction is over: pairs × metrics with a p.

    Example:
        >>> Group(cases=0, methods={}, pairs=(), tests=0).tests
        0
    """

    cases: int
    methods: dict[str, Method]
    pairs: tuple[MethodPair, ...]
    tests: int


@dataclass(frozen=True)
class Comparison:
    """Methods compared over the same cases.

    Attributes:
        methods: their names.
        metrics: names of the metrics.
        overall: over all cases.
        strata: by stratum, those that have cases.
        settings: how they were compared, and the `size_unit` that tables are to show where it is not ml.

    Example:
        >>> nothing = Group(cases=0, methods={}, pairs=(), tests=0)
        >>> list(Comparison((), (), nothing, {}, {}).groups)
        ['all']
    """

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    overall: Group
    strata: dict[str, Group]
    settings: dict[str, Any]

    @property
    def groups(self) -> dict[str, Group]:
        """The strata, and last `all`."""
        return {**self.strata, "all": self.overall}

    @property
    def words(self) -> Wording:
        """What sizes and lengths of the cases are called."""
        return recorded_wording(self.settings)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `comparison.json`.

        Returns:
            The fields, and the name of the format.
        """
        return {"format": "multifocal comparison 1", **asdict(self)}
