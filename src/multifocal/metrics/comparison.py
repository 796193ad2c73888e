"""The old place of `multifocal.comparison`; its names are still found here, with a warning."""

from multifocal._moved import moved

_NAMES = (
    "DEFAULT_METRICS",
    "MEAN_RANKS",
    "Comparison",
    "Difference",
    "Group",
    "MeanRank",
    "Method",
    "Score",
    "compare",
    "write_comparison",
)
__getattr__ = moved(
    __name__,
    {name: f"multifocal.comparison.{name}" for name in _NAMES} | {"Pair": "multifocal.comparison.MethodPair"},
)
