"""One synthetic neonate: ADC, Z-ADC and lesion label on one grid."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import FLUID, STEP, Brain, make_brain
from multifocal.cohorts.phantom.lesions import PATTERNS, foci, level_of, susceptibility
from multifocal.cohorts.phantom.noise import generator, smooth_noise
from multifocal.cohorts.phantom.plan import CasePlan, Protocol, plan_cohort
from multifocal.cohorts.phantom.scan import Scan, make_scan
from multifocal.errors import UserError
from multifocal.volumes import Volume


@dataclass(frozen=True)
class PhantomCase:
    """A synthetic case: ADC (1e-6 mm²/s), Z-ADC and label (0 or 1), float32 on one grid, 0 outside the brain."""

    name: str
    adc: Volume
    zadc: Volume
    label: Volume


def phantom_case(*, seed: int, index: int, cases: int) -> PhantomCase:
    """Return case `index` (from 0) of the synthetic cohort of so many `cases`: the same arguments, the same case.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.

    Example:
        >>> case = phantom_case(seed=0, index=0, cases=3)
        >>> case.name, case.adc.geometry == case.label.geometry
        ('PHANTOM_001-VISIT_01', True)
    """
    plans = plan_cohort(seed=seed, cases=cases)
    if not 0 <= index < cases:
        raise UserError(f"case index {index} is outside a synthetic cohort of {cases}; choose 0 to {cases - 1}")
    plan = plans[index]
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


def measure(rng: np.random.Generator, adc: np.ndarray, *, inside: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Return the ADC as stored: with the scanner's noise (more in fluid), rounded, 0 outside the brain only."""
    noisy = adc + rng.normal(0, protocol.noise, adc.shape) * (0.6 + 0.4 * adc / 1300)
    if protocol.raw:
        edge = np.flatnonzero(inside & ~ndimage.binary_erosion(inside))
        dropped = rng.choice(edge, int(rng.integers(3, 40)), replace=False)
        noisy.ravel()[dropped] = rng.normal(-100, 250, dropped.size)
        noisy = np.rint(np.clip(noisy, -1200, 4479))
    else:
        noisy = np.rint(np.clip(noisy, 1, 4095))
    noisy[noisy == 0] = 1
    return np.where(inside, noisy, 0).astype(np.float32)


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
