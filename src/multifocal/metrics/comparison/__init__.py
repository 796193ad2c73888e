"""Methods against each other, over the same cases."""

from multifocal.metrics.comparison.align import DEFAULT_METRICS
from multifocal.metrics.comparison.compare import compare
from multifocal.metrics.comparison.outcome import Comparison, Difference, Group, MeanRank, Method, Pair, Score
from multifocal.metrics.comparison.ranks import MEAN_RANKS
from multifocal.metrics.comparison.writing import write_comparison

__all__ = [
    "DEFAULT_METRICS",
    "MEAN_RANKS",
    "Comparison",
    "Difference",
    "Group",
    "MeanRank",
    "Method",
    "Pair",
    "Score",
    "compare",
    "write_comparison",
]
