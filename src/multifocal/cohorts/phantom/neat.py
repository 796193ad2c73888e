"""Neonates of the domain "neat": what each case is to be, its ADC, Z-ADC and label.

Quantiles of the stated distributions are dealt out to the cases in a random order, so that a small cohort has the
same mix as a large one.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import FLUID, STEP, Brain, generator, make_brain, smooth_noise
from multifocal.cohorts.phantom.cohort import check_request
from multifocal.cohorts.phantom.lesions import PATTERNS, foci, level_of, susceptibility
from multifocal.cohorts.phantom.scan import CORONAL, PROTOCOLS, UNEVEN, Protocol, Scan, make_scan, measure
from multifocal.volumes import Volume

LESION_SHARE = ((0.075, 0.00025), (0.5, 0.002), (0.65, 0.01), (0.8, 0.05), (0.9, 0.22), (0.95, 0.5), (1.0, 0.7))
"""Points (quantile, lesion share of the brain) of the distribution, measured on 40 neonates of BONBID-HIE; below the
first quantile there is no lesion, between two the logarithm of the share is linear."""

TILT_DEGREES = ((0.0, 0.0), (0.5, 7.0), (0.85, 18.0), (0.95, 30.0), (1.0, 42.0))
"""Points (quantile, angle) of how far a head lies from the axes of the scanner."""

RARE_FROM = 10
"""Cohorts of at least this many cases have one case of each rare protocol and subjects with two visits."""


@dataclass(frozen=True)
class PhantomCase:
    """A synthetic case: three float32 images on one grid, 0 outside the brain.

    Attributes:
        name: of the case.
        adc: in 1e-6 mm²/s.
        zadc: -10 to 10.
        label: 0 or 1.

    Example:
        >>> import dataclasses
        >>> [field.name for field in dataclasses.fields(PhantomCase)]
        ['name', 'adc', 'zadc', 'label']
    """

    name: str
    adc: Volume
    zadc: Volume
    label: Volume


@dataclass(frozen=True)
class CasePlan:
    """What one case is to be.

    Attributes:
        name: of the case.
        anatomy: index of the subject's first visit, whose brain all visits share.
        share: the lesion's share of the brain.
        protocol: how it is acquired.
        tilt: how far the head lies from the axes of the scanner, in degrees.
    """

    name: str
    anatomy: int
    share: float
    protocol: Protocol
    tilt: float


def neat_case(*, seed: int, index: int, cases: int) -> PhantomCase:
    """Return case `index` (from 0) of the synthetic cohort of so many `cases`: the same arguments, the same case.

    Args:
        seed: of the cohort.
        index: which case, from 0.
        cases: how many the cohort has.

    Returns:
        Images and label.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.

    Example:
        >>> case = neat_case(seed=0, index=0, cases=3)
        >>> case.name, case.adc.geometry == case.label.geometry
        ('PHANTOM_001-VISIT_01', True)
    """
    check_request(cases=cases, seed=seed, index=index)
    plan = plan_cohort(seed=seed, cases=cases)[index]
    brain = make_brain(generator(seed, 1, plan.anatomy))
    rng = generator(seed, 2, index)
    scan = make_scan(rng, protocol=plan.protocol, tilt=plan.tilt, inside=brain.inside)
    inside = scan.see(brain.inside, fill=-1.0) > 0
    healthy = scan.see(brain.adc, fill=FLUID)
    label, injury = _lesions(rng, plan, brain=brain, scan=scan, inside=inside, healthy=healthy)
    adc = measure(rng, healthy * (1 - injury), inside=inside, protocol=plan.protocol)
    mean, deviation = _norm(rng, brain)
    drift = rng.normal(0, 0.8, 3)
    zadc = _z_score(
        adc,
        mean=scan.see(mean, drift=drift, fill=FLUID),
        deviation=scan.see(deviation, drift=drift, fill=FLUID),
        inside=inside,
        spacing=plan.protocol.spacing,
    )
    images = (Volume(scan.paste(box), scan.geometry) for box in (adc, zadc, label))
    return PhantomCase(plan.name, *images)


def plan_cohort(*, seed: int, cases: int) -> tuple[CasePlan, ...]:
    """Return the plan of every case of a cohort.

    Args:
        seed: of the cohort.
        cases: how many it has.

    Returns:
        The plans in order.

    Raises:
        UserError: `cases` below 1 or `seed` below 0.

    Example:
        >>> plans = plan_cohort(seed=0, cases=8)
        >>> sum(p.share == 0 for p in plans), sum(0 < p.share < 0.01 for p in plans), sum(p.share > 0.3 for p in plans)
        (1, 4, 1)
    """
    check_request(cases=cases, seed=seed)
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

    Args:
        quantile: 0 to 1.

    Returns:
        A fraction.

    Example:
        >>> share_at(0.05), round(share_at(0.5), 4)
        (0.0, 0.002)
    """
    quantiles, shares = zip(*LESION_SHARE, strict=True)
    if quantile < quantiles[0]:
        return 0.0
    return float(np.exp(np.interp(quantile, quantiles, np.log(shares))))


def _lesions(
    rng: np.random.Generator, plan: CasePlan, *, brain: Brain, scan: Scan, inside: np.ndarray, healthy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The label, and by how much (0-1) the lesions lower the ADC: softly at their edges, unevenly inside."""
    if plan.share == 0:
        return np.zeros_like(inside), np.zeros_like(healthy)
    pattern = str(rng.choice(list(PATTERNS)))
    likely = susceptibility(brain, pattern=pattern)
    likely *= scan.covers(brain.position, middle=tuple(n // 2 for n in likely.shape))
    millilitres = plan.share * brain.millilitres
    # From one focus to a few dozen as the share grows to 1 %; a few large ones when most of the brain is injured.
    expected = 12 * min(1.0, (plan.share / 0.01) ** 0.7) if plan.share < 0.3 else 3
    count = 1 + round(expected * float(np.exp(rng.normal(-0.15, 0.75))))
    height = scan.see(foci(rng, brain, likely=likely, count=count, millilitres=millilitres), fill=-1e3)
    tissue = inside & (healthy < 1900)
    level = level_of(height[tissue], voxels=max(4, round(plan.share * int(inside.sum()))))
    label = tissue & (height >= level)
    severity = np.clip(rng.normal(0.42, 0.065), 0.22, 0.55)
    uneven = 1 + 0.2 * scan.see(smooth_noise(rng, likely.shape, sigma=5 / STEP))
    # The larger a focus, the wider its edge.
    edge = 2 + 0.3 * np.cbrt(1000 * millilitres / count / (4 / 3 * np.pi))
    profile = np.clip(0.5 + (height - level) / edge, 0, 1)
    return label, np.clip(severity * uneven, 0, 0.7) * profile * np.clip((2400 - healthy) / 600, 0, 1)


def _norm(rng: np.random.Generator, brain: Brain) -> tuple[np.ndarray, np.ndarray]:
    """The mean and standard deviation of normal brains here: the region's, not this brain's own folds and ventricles.

    Age and protocol differ from the normal group's (a factor), slowly over the brain and, in the normal variants, in
    foci that look like lesions in Z-ADC alone.
    """
    # Smoothed inside the brain only, so that the fluid around it does not raise the norm of its rim.
    brain_only = (brain.inside > 0).astype(np.float32)
    weight = np.maximum(_blur(brain_only), 1e-3)
    mean = _blur(brain.adc * brain_only) / weight
    spread = _blur((brain.adc - mean) ** 2 * brain_only) / weight
    tissue = np.sum(list(brain.tissue.values()), axis=0) * (brain.inside > 1)
    share = float(np.exp(rng.uniform(np.log(0.001), np.log(0.008))))
    count = int(rng.integers(4, 20))
    height = foci(rng, brain, likely=tissue, count=count, millilitres=share * brain.millilitres)
    level = level_of(height[tissue > 0.5], voxels=round(share * brain.millilitres * 1000 / STEP**3))
    variant = 0.3 * np.clip(0.5 + (height - level) / 2.5, 0, 1)
    slow = 0.04 * smooth_noise(rng, mean.shape, sigma=10 / STEP)
    deviation = np.sqrt(0.4 * spread + (np.float32(0.09) * np.maximum(mean, 1000)) ** 2)
    return mean * np.float32(rng.normal(1.0, 0.03)) * (1 + slow + variant), deviation


def _blur(field: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(field, 4.0 / STEP, truncate=2.0)


def _z_score(
    adc: np.ndarray,
    *,
    mean: np.ndarray,
    deviation: np.ndarray,
    inside: np.ndarray,
    spacing: tuple[float, ...],
) -> np.ndarray:
    """z = (ADC - mean) / deviation, smoothed inside the brain by 2 mm (full width at half maximum), clipped to ±10."""
    score = np.where(inside, (adc - mean) / deviation, 0).astype(np.float32)
    sigma = [2.0 / 2.3548 / s for s in spacing]
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(score, sigma) / np.maximum(weight, 1e-3)
    return np.where(inside, np.clip(np.round(smooth, 3), -10, 10), 0).astype(np.float32)
