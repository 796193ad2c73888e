"""Methods against each other, over the same cases."""

from multifocal.comparison.compare import compare
from multifocal.comparison.intervals import mean_intervals
from multifocal.comparison.result import Comparison, Difference, Group, MeanRank, Method, MethodPair, Score
from multifocal.comparison.score_array import DEFAULT_METRICS
from multifocal.comparison.statistics import MEAN_RANKS
from multifocal.comparison.tables import write_comparison

__all__ = [
    "DEFAULT_METRICS",
    "MEAN_RANKS",
    "Comparison",
    "Difference",
    "Group",
    "MeanRank",
    "Method",
    "MethodPair",
    "Score",
    "compare",
    "mean_intervals",
    "write_comparison",
]
