"""What each case of a synthetic cohort is to be: its share of lesion, its scanner protocol, its pose and its name.

Quantiles of the stated distributions are dealt out to the cases in a random order, so that a small cohort has the
same mix as a large one.
"""

from dataclasses import dataclass

import numpy as np

from multifocal.cohorts.phantom.noise import generator
from multifocal.errors import UserError

LESION_SHARE = ((0.075, 0.00025), (0.5, 0.002), (0.65, 0.01), (0.8, 0.05), (0.9, 0.22), (0.95, 0.5), (1.0, 0.7))
"""Points (quantile, lesion share of the brain) of the distribution, measured on 40 neonates of BONBID-HIE; below the
first quantile there is no lesion, between two the logarithm of the share is linear."""

TILT_DEGREES = ((0.0, 0.0), (0.5, 7.0), (0.85, 18.0), (0.95, 30.0), (1.0, 42.0))
"""Points (quantile, angle) of how far a head lies from the axes of the scanner."""


@dataclass(frozen=True)
class Protocol:
    """A way to acquire: matrix, range of slices, spacing (mm) and noise (1e-6 mm²/s).

    `follows` says whether the slices follow the head; where they do not, its tilt shows in the array. `raw` values are
    not clipped to 1-4095: noise makes some of them negative.
    """

    matrix: int
    slices: tuple[int, int]
    spacing: tuple[float, float, float]
    noise: float
    follows: bool = True
    raw: bool = False
    coronal: bool = False


THIN = Protocol(128, (50, 60), (2.0, 2.0, 2.0), 75)
THICK = Protocol(160, (17, 28), (1.375, 1.375, 6.0), 42)
PROTOCOLS = (
    (THIN, 0.40),
    (Protocol(128, (50, 54), (1.953125, 1.953125, 2.0), 75), 0.05),
    (THICK, 0.325),
    (Protocol(160, (22, 25), (1.375, 1.375, 4.8), 45), 0.075),
    (Protocol(128, (23, 23), (1.5625, 1.5625, 4.0), 50, follows=False, raw=True), 0.1),
    (Protocol(128, (34, 36), (2.0, 2.0, 3.0), 60), 0.05),
)
"""The protocols and how often each is met."""

UNEVEN = Protocol(128, (23, 23), (1.473, 1.5625, 4.0), 50, follows=False, raw=True)
CORONAL = Protocol(160, (28, 32), (1.375, 1.375, 4.8), 45, coronal=True)
RARE_FROM = 10
"""Cohorts of at least this many cases have one case of each rare protocol and subjects with two visits."""


@dataclass(frozen=True)
class CasePlan:
    """What one case is to be; `anatomy` is the index of the subject's first visit, whose brain all visits share."""

    name: str
    anatomy: int
    share: float
    protocol: Protocol
    tilt: float


def plan_cohort(*, seed: int, cases: int) -> tuple[CasePlan, ...]:
    """Return the plan of every case.

    Raises:
        UserError: `cases` below 1 or `seed` below 0.

    Example:
        >>> plans = plan_cohort(seed=0, cases=8)
        >>> sum(p.share == 0 for p in plans), sum(0 < p.share < 0.01 for p in plans), sum(p.share > 0.3 for p in plans)
        (1, 4, 1)
    """
    if cases < 1:
        raise UserError(f"a synthetic cohort cannot have {cases} cases; ask for at least 1")
    if seed < 0:
        raise UserError(f"a synthetic cohort cannot have the seed {seed}; choose 0 or more")
    rng = generator(seed, 0)
    middles = (np.arange(cases) + 0.5) / cases
    shares = rng.permutation([share_at(q) for q in middles])
    rare = [UNEVEN, CORONAL] if cases >= RARE_FROM else []
    bounds = np.cumsum([weight for _, weight in PROTOCOLS])
    common = cases - len(rare)
    picks = np.searchsorted(bounds[:-1], (np.arange(common) + 0.5) / common, side="right")
    protocols = rare + [PROTOCOLS[int(pick)][0] for pick in picks]
    order = rng.permutation(cases)
    quantiles, angles = np.array(TILT_DEGREES).T
    tilts = rng.permutation(np.interp(middles, quantiles, angles))
    plans = []
    for index in range(cases):
        again = cases >= RARE_FROM and index % 10 == 9
        first = index - 1 if again else index
        subject = first - first // 10 + 1 if cases >= RARE_FROM else first + 1
        name = f"PHANTOM_{subject:03d}-VISIT_{2 if again else 1:02d}"
        plans.append(CasePlan(name, first, float(shares[index]), protocols[order[index]], float(tilts[index])))
    return tuple(plans)


def share_at(quantile: float) -> float:
    """Return the lesion's share of the brain at a quantile of `LESION_SHARE`.

    Example:
        >>> share_at(0.05), round(share_at(0.5), 4)
        (0.0, 0.002)
    """
    quantiles, shares = zip(*LESION_SHARE, strict=True)
    if quantile < quantiles[0]:
        return 0.0
    return float(np.exp(np.interp(quantile, quantiles, np.log(shares))))
