"""Means over resampled cases, the same resamples for everything that is compared."""

from collections.abc import Iterator, Sequence

import numpy as np

CONFIDENCE = 0.95
_BLOCK = 1000  # resamples held in memory at a time; the draws do not depend on it


def resampled_means(values: np.ndarray, *, samples: int, seed: Sequence[int]) -> np.ndarray:
    """Return the mean of each row over each of `samples` bootstrap samples of the columns (the cases).

    Every row sees the same draws, so that means of one sample can be compared and subtracted.

    Args:
        values: shape (rows, cases); NaN is left out of a mean.
        samples: how many bootstrap samples.
        seed: entropy of the draws; the same seed and number of cases give the same draws.

    Returns:
        Shape (rows, samples); NaN where a sample holds no value of the row.

    Example:
        >>> resampled_means(np.array([[2.0, 2.0], [1.0, np.nan]]), samples=2, seed=[0]).shape
        (2, 2)
    """
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    means = np.empty((len(values), samples))
    done = 0
    for counts in _draws(values.shape[1], samples=samples, seed=seed):
        block = slice(done, done + len(counts))
        for row, (numbers, there) in enumerate(zip(filled, defined, strict=True)):
            # Row by row: one product over all rows would add up equal rows in different orders.
            weight = float(len(numbers)) if there.all() else counts @ there.astype(float)
            with np.errstate(invalid="ignore"):
                means[row, block] = (counts @ numbers) / weight
        done += len(counts)
    return means


def interval(means: np.ndarray, *, n: int) -> tuple[float | None, float | None]:
    """Return the percentile interval of resampled means of `n` values; None for fewer than two.

    Samples that hold none of the values are left out; where all are such, there is no interval either.
    """
    kept = means[~np.isnan(means)]
    if n < 2 or not len(kept):
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


def _draws(cases: int, *, samples: int, seed: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield how often each case is drawn in each sample, (samples, cases) at a time."""
    random = np.random.default_rng(list(seed))
    for start in range(0, samples, _BLOCK):
        size = min(_BLOCK, samples - start)
        drawn = random.integers(0, cases, (size, cases)) + cases * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * cases).reshape(size, cases).astype(float)
