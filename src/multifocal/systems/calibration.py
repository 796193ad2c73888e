"""How far probabilities can be believed, and the one temperature that makes them believable."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from scipy import special

from multifocal.config import Config
from multifocal.errors import UserError

LIMIT = 16.0  # log-odds beyond it count as it: float32 tells none apart above 16.6
_PER_UNIT = 64  # bins of the log-odds; sums over a bin go by its mean, and are off by less than 1e-5 of themselves
_ECE_BINS = 15
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class OddsCounts:
    """The voxels of any number of cases by their log-odds, in constant memory: all that calibration asks for.

    Args:
        voxels: (2049,) how many there are in each bin of the log-odds from -16 to 16.
        lesion: (2049,) how many of them are lesion.
        odds: (2049,) the sum of their log-odds.
        lesion_odds: the sum of the log-odds of lesion.

    Example:
        >>> found = OddsCounts.of(np.array([0.2, 0.8]), np.array([False, True]))
        >>> (found + found).voxels.sum(), round(found.lesion_odds, 3)
        (np.int64(4), 1.386)
    """

    voxels: np.ndarray
    lesion: np.ndarray
    odds: np.ndarray
    lesion_odds: float

    @classmethod
    def of(cls, probability: np.ndarray, lesion: np.ndarray) -> "OddsCounts":
        """Count the voxels of a case.

        Args:
            probability: from 0 to 1, any shape.
            lesion: bool, of the same shape.

        Returns:
            The counts.
        """
        with np.errstate(divide="ignore"):
            odds = special.logit(np.clip(probability, 0.0, 1.0, dtype=np.float64).ravel()).clip(-LIMIT, LIMIT)
        bins, true = np.rint((odds + LIMIT) * _PER_UNIT).astype(np.int64), lesion.ravel()
        size = round(2 * LIMIT * _PER_UNIT) + 1
        voxels, lesions = np.bincount(bins, minlength=size), np.bincount(bins[true], minlength=size)
        return cls(voxels, lesions, np.bincount(bins, odds, size), float(odds[true].sum()))

    def __add__(self, other: "OddsCounts") -> "OddsCounts":
        return OddsCounts(
            self.voxels + other.voxels,
            self.lesion + other.lesion,
            self.odds + other.odds,
            self.lesion_odds + other.lesion_odds,
        )


class Reliability(Config):
    """How far probabilities can be believed, over all voxels.

    Args:
        nll: mean negative log-likelihood.
        brier: mean squared difference from the truth.
        ece: expected calibration error over 15 bins of equal width: `Σ n_b / n · |mean p - share of lesion|`.
    """

    nll: float
    brier: float
    ece: float


class Calibration(Config):
    """A temperature, and what it does to the voxels that it was found on.

    Args:
        temperature: what log-odds are divided by, from 0.05 to 20.
        voxels: how many there are, inside the brain.
        before: as the probabilities were.
        after: with the temperature.
    """

    temperature: float
    voxels: int
    before: Reliability
    after: Reliability


def calibrate(counts: OddsCounts) -> Calibration:
    """Return the temperature of the least negative log-likelihood.

    `min over T of mean(softplus(z / T) - y z / T)`, `z` the log-odds, `y` 1 in lesions: convex in `1 / T`.

    Args:
        counts: of the cases to go by.

    Returns:
        The temperature, within its limits, and the reliability with and without it.

    Raises:
        UserError: there is no lesion, or nothing else: the best temperature would be 0.

    Source:
        Guo, Pleiss, Sun, Weinberger 2017, On calibration of modern neural networks, section 4.2.

    Example:
        >>> sure = np.repeat([0.01, 0.99], 10)  # nine times of ten, it is right
        >>> true = sure > 0.5
        >>> true[[0, 10]] = ~true[[0, 10]]
        >>> round(calibrate(OddsCounts.of(sure, true)).temperature, 2)
        2.09
    """
    from scipy import optimize  # which reading a recipe need not wait for

    total, lesion = int(counts.voxels.sum()), int(counts.lesion.sum())
    if not 0 < lesion < total:
        raise UserError(
            "calibration needs voxels with and without lesion in the cases it goes by: add cases with lesions, or "
            "leave calibration out"
        )
    limits = math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])
    found = optimize.minimize_scalar(
        lambda log_t: reliability(counts, math.exp(log_t)).nll, bounds=limits, method="bounded", options={"xatol": 1e-6}
    )
    temperature = float(f"{math.exp(found.x):.4g}")
    return Calibration(
        temperature=temperature,
        voxels=total,
        before=reliability(counts, 1.0),
        after=reliability(counts, temperature),
    )


def reliability(counts: OddsCounts, temperature: float) -> Reliability:
    """Return how far the probabilities of some voxels can be believed at a temperature.

    Args:
        counts: the voxels.
        temperature: what their log-odds are divided by.

    Returns:
        The three measures.

    Example:
        >>> fair = OddsCounts.of(np.array([0.5, 0.5]), np.array([True, False]))
        >>> round(reliability(fair, 1.0).nll, 4), reliability(fair, 1.0).brier
        (0.6931, 0.25)
    """
    return of_sums(reliability_sums(counts, temperature))


def reliability_sums(counts: OddsCounts, temperature: float) -> np.ndarray:
    """Return what `reliability` is made of, which adds up over cases, each of which may have its own temperature.

    Args:
        counts: the voxels.
        temperature: what their log-odds are divided by.

    Returns:
        `(48,)`: how many voxels, the sums of negative log-likelihood and squared difference; for each of 15 bins that
        of `p - y`; and for each how many voxels there are, and how many of them are lesion.

    Example:
        >>> fair = OddsCounts.of(np.array([0.5, 0.5]), np.array([True, False]))
        >>> of_sums(reliability_sums(fair, 1.0) + reliability_sums(fair, 2.0)).brier
        0.25
    """
    held = counts.voxels > 0
    voxels, lesion = counts.voxels[held], counts.lesion[held]
    odds = counts.odds[held] / voxels / temperature
    p = special.expit(odds)
    nll = (voxels * np.logaddexp(0.0, odds)).sum() - counts.lesion_odds / temperature
    bins = np.minimum((p * _ECE_BINS).astype(int), _ECE_BINS - 1)
    gaps = np.bincount(bins, voxels * p - lesion, _ECE_BINS)
    brier = (voxels * p**2 - 2 * lesion * p + lesion).sum()
    many, true = (np.bincount(bins, each, _ECE_BINS) for each in (voxels, lesion))
    return np.array([voxels.sum(), nll, brier, *gaps, *many, *true], np.float64)


def of_sums(sums: np.ndarray) -> Reliability:
    """Return the reliability of the voxels whose sums these are.

    Args:
        sums: of `reliability_sums`, or of several cases added up.

    Returns:
        The three measures.

    Example:
        >>> fair = OddsCounts.of(np.array([0.5, 0.5]), np.array([True, False]))
        >>> of_sums(reliability_sums(fair, 1.0)) == reliability(fair, 1.0)
        True
    """
    total, nll, brier = sums[:3]
    gaps = sums[3 : 3 + _ECE_BINS]
    return Reliability(nll=float(nll / total), brier=float(brier / total), ece=float(np.abs(gaps).sum() / total))


def diagram(sums: np.ndarray) -> dict[str, list[Any]]:
    """Return the reliability diagram of the voxels whose sums these are: 15 bins of the probability, of equal width.

    Args:
        sums: of `reliability_sums`, or of several cases added up.

    Returns:
        A list each: how many `voxels` there are, their mean `probability`, and the share of `lesion` among them; both
        None in an empty bin.

    Example:
        >>> sure = diagram(reliability_sums(OddsCounts.of(np.array([0.9, 0.9]), np.array([True, False])), 1.0))
        >>> sure["voxels"][13], round(sure["probability"][13], 2), sure["lesion"][13], sure["lesion"][0]
        (2, 0.9, 0.5, None)
    """
    gaps, voxels, lesion = sums[3:].reshape(3, _ECE_BINS).tolist()

    def share(values: list[float]) -> list[float | None]:
        return [value / many if many else None for value, many in zip(values, voxels, strict=True)]

    return {
        "voxels": [round(many) for many in voxels],
        "probability": share([gap + true for gap, true in zip(gaps, lesion, strict=True)]),
        "lesion": share(lesion),
    }


def summed(counts: Iterable[OddsCounts]) -> OddsCounts:
    """Return the counts of several cases together.

    Args:
        counts: of each, at least one.

    Returns:
        Their sum.
    """
    return reduce(OddsCounts.__add__, counts)
