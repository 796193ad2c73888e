"""Neonates of the domain "random": scans that differ from each other more than real ones do, for training networks.

A network that has seen every contrast, resolution and atlas takes a real scan for one more of them (domain
randomisation: Billot et al., SynthSeg, Medical Image Analysis 86:102789, 2023). What is drawn around, and how far, are
summaries of 40 neonates of BONBID-HIE, which `tools/phantom_realism.py` makes, and how Z < -2 without specks scores on
them; no scan of theirs is in it.

Lesions are drawn in Z, where readers look for them, and ADC follows through the atlas's deviation at each place.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.atlas import make_atlas, smoothed, z_score
from multifocal.cohorts.phantom.brain import (
    CAPSULE,
    CEREBELLUM,
    CORTEX,
    DEEP,
    FLUID,
    STEM,
    STEP,
    WHITE,
    Brain,
    Head,
    generator,
    layered,
    make_head,
    smooth_noise,
    tissue_shares,
)
from multifocal.cohorts.phantom.cohort import check_request
from multifocal.cohorts.phantom.lesions import PATTERNS, foci, level_of, susceptibility
from multifocal.cohorts.phantom.neat import TILT_DEGREES, PhantomCase, share_at
from multifocal.cohorts.phantom.reader import draw_reader, outline
from multifocal.cohorts.phantom.scan import Protocol, Scan, make_scan, measure
from multifocal.volumes import Volume

EMPTY = 0.04
"""Share of the cases without lesions."""

LEVELS: Mapping[str, tuple[float, float]] = {
    "white": (0.935 * WHITE, 0.055),
    "cortex": (CORTEX, 0.06),
    "capsule": (CAPSULE, 0.06),
    "deep": (DEEP, 0.06),
    "rim": (1.2 * FLUID, 0.10),
    "cerebellum": (CEREBELLUM, 0.07),
    "stem": (STEM, 0.06),
    "fluid": (1.2 * FLUID, 0.10),
}
"""ADC by tissue: mean, and standard deviation among cases as a share of it."""

GRIDS: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((2.0, 2.0, 2.0), 0.45),
    ((1.375, 1.375, 5.5), 0.35),
    ((1.5625, 1.5625, 4.0), 0.1),
    ((1.8, 1.8, 3.0), 0.1),
)
"""Spacings in mm around which those of the cases are drawn, and how often."""


@dataclass(frozen=True)
class Injury:
    """What lesions do to a scan: how far each voxel is injured (0-1), and by how much its Z falls (at most 0)."""

    profile: np.ndarray
    fall: np.ndarray


def random_case(*, seed: int, index: int, cases: int) -> PhantomCase:
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
        >>> case = random_case(seed=0, index=0, cases=3)
        >>> case.name, case.adc.geometry == case.label.geometry
        ('PHANTOM_001-VISIT_01', True)
    """
    check_request(cases=cases, seed=seed, index=index)
    share = lesion_share_of(seed=seed, index=index, cases=cases)
    rng = generator(seed, 31, index)
    head = draw_head(rng)
    protocol = draw_protocol(rng)
    quantiles, angles = np.array(TILT_DEGREES).T
    tilt = 1.2 * float(np.interp(rng.random(), quantiles, angles))
    scan = make_scan(rng, protocol=protocol, tilt=tilt, inside=head.anatomy.inside)
    # Skull-stripping leaves more or less of the fluid around the brain.
    inside = scan.see(head.anatomy.inside, fill=-1.0) > rng.uniform(-0.7, 1.0)
    levels = draw_levels(rng)
    brain = Brain(
        adc=_healthy(rng, head, levels=levels),
        inside=head.anatomy.inside,
        tissue=tissue_shares(head.share),
        position=head.position,
    )
    clean = _seen(rng, scan, brain.adc)
    adc = measure(rng, clean, inside=inside, protocol=protocol)
    zadc, scale = _z_map(rng, adc, clean=clean, head=head, brain=brain, scan=scan, levels=levels, inside=inside)
    label = np.zeros_like(inside)
    if share > 0:
        injury = _injure(rng, share, brain=brain, scan=scan, inside=inside, clean=clean, zadc=zadc)
        zadc = zadc + smoothed(injury.fall, inside=inside, spacing=protocol.spacing)
        # ADC shows lesions less than the norm of their place would have it, in some scans far less.
        follows = np.float32(rng.uniform(0.25, 0.9))
        # No injury takes more than about two thirds of the diffusion away, however wide the norm is there.
        fall = np.maximum(follows * injury.fall * scale, -0.65 * clean)
        adc = np.where(inside, np.rint(np.where(adc > 0, np.maximum(adc + fall, 1), adc)), 0)
        label = outline(
            rng,
            draw_reader(rng),
            zadc=zadc,
            injury=injury.profile,
            inside=inside & (clean < 2000),
            voxel_ml=scan.geometry.voxel_ml,
        )
    zadc = np.where(inside, np.clip(np.round(zadc, 3), -10, 10), 0)
    images = (Volume(scan.paste(box), scan.geometry) for box in (adc, zadc, label))
    return PhantomCase(f"PHANTOM_{index + 1:03d}-VISIT_01", *images)


def lesion_share_of(*, seed: int, index: int, cases: int) -> float:
    """Return about which share of its brain a case's lesions are to have; a small cohort has the mix of a large one.

    Args:
        seed: of the cohort.
        index: which case, from 0.
        cases: how many the cohort has.

    Returns:
        A fraction.

    Example:
        >>> shares = [lesion_share_of(seed=0, index=index, cases=50) for index in range(50)]
        >>> sum(share == 0 for share in shares), 0.001 < sorted(shares)[25] < 0.004
        (2, True)
    """
    order = generator(seed, 30).permutation(cases)
    quantile = (order[index] + 0.5) / cases
    if quantile < EMPTY:
        return 0.0
    # The real distribution without its empty cases, which are 7.5 %.
    return share_at(0.075 + 0.925 * (quantile - EMPTY) / (1 - EMPTY))


def draw_head(rng: np.random.Generator) -> Head:
    """Return a head: from small to large, slender to round, with closed or open sulci and ventricles.

    Args:
        rng: source of all chance.

    Returns:
        The head.
    """
    size = np.clip(rng.normal(0.955, 0.045), 0.85, 1.05) * rng.uniform(0.95, 1.05, 3)
    widest = float(np.exp(rng.uniform(np.log(0.4), np.log(1.8))))
    thickness = float(rng.uniform(2.6, 4.2))
    return make_head(
        rng,
        size=size,
        bend=rng.uniform(1.0, 3.5),
        wide=(widest, widest),
        ribbon=(thickness, thickness),
        gap=rng.uniform(-0.2, 0.55),
    )


def draw_levels(rng: np.random.Generator) -> dict[str, float]:
    """Return the ADC of each tissue: of an age, and of a scanner.

    Args:
        rng: source of all chance.

    Returns:
        In 1e-6 mm²/s, by tissue (see `layered`).
    """
    whole = rng.normal(0.98, 0.035)
    levels = {name: float(mean * whole * (1 + rng.normal(0, part))) for name, (mean, part) in LEVELS.items()}
    # Fluid is the same in the ventricles and around the brain, but for what flows.
    levels["rim"] = levels["fluid"] * float(rng.uniform(0.85, 1.05))
    return levels


def draw_protocol(rng: np.random.Generator) -> Protocol:
    """Return a protocol: near one of the usual grids, or between them.

    Args:
        rng: source of all chance.

    Returns:
        The protocol.
    """
    pick = int(np.searchsorted(np.cumsum([often for _, often in GRIDS]), rng.random()))
    spacing = np.array(GRIDS[min(pick, len(GRIDS) - 1)][0])
    other = np.array([rng.normal(0, 0.08)] * 2 + [rng.normal(0, 0.2)]) if rng.random() < 0.6 else np.zeros(3)
    spacing = np.round(np.clip(spacing * np.exp(other), [1.1, 1.1, 1.0], [2.4, 2.4, 6.5]), 4)
    slices = int(np.ceil(rng.uniform(104, 140) / spacing[2]))
    thick = float(spacing[2])
    return Protocol(
        matrix=2 * int(np.ceil(rng.uniform(105, 125) / spacing[0])),
        slices=(slices, slices),
        spacing=(float(spacing[0]), float(spacing[1]), thick),
        noise=float(np.exp(rng.normal(np.log(72 if thick < 3 else 48), 0.3))),
        follows=bool(rng.random() < 0.85),
        raw=bool(rng.random() < 0.15),
        coronal=bool(rng.random() < 0.04),
        gap=float(rng.uniform(0.1, 0.3)) if thick > 2.5 and rng.random() < 0.5 else 0.0,
    )


def _healthy(rng: np.random.Generator, head: Head, *, levels: Mapping[str, float]) -> np.ndarray:
    """The ADC of a healthy brain: each tissue uneven in its own measure, and all of it under a slow bias."""
    shape = head.ragged.shape
    fine, coarse = smooth_noise(rng, shape, sigma=4 / STEP), smooth_noise(rng, shape, sigma=12 / STEP)
    depth = np.clip((head.anatomy.cerebrum - 6) / 10, -1, 1)
    uneven: dict[str, np.ndarray] = {name: np.float32(rng.uniform(0, 0.06)) * fine for name in levels}
    uneven["white"] = uneven["white"] + np.float32(rng.uniform(0, 0.08)) * coarse
    uneven["white"] = uneven["white"] + np.float32(rng.uniform(0, 0.1)) * depth
    bias = 1 + np.float32(rng.uniform(0, 0.05)) * smooth_noise(rng, shape, sigma=35 / STEP)
    return layered(head.share, {name: level * (1 + uneven[name]) for name, level in levels.items()}) * bias


def _seen(rng: np.random.Generator, scan: Scan, adc: np.ndarray) -> np.ndarray:
    """What the scan sees, as sharp or blurred in its slices as its software makes it."""
    sigma = float(rng.uniform(0, 0.7))
    return ndimage.gaussian_filter(scan.see(adc, fill=FLUID), (sigma, sigma, 0))


def _z_map(
    rng: np.random.Generator,
    adc: np.ndarray,
    *,
    clean: np.ndarray,
    head: Head,
    brain: Brain,
    scan: Scan,
    levels: Mapping[str, float],
    inside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Z of the healthy brain, and by how much ADC rises (1e-6 mm²/s) when Z does by 1."""
    atlas = make_atlas(rng, head, levels=levels)
    mean = scan.see(atlas.mean * (1 + _variants(rng, brain)), fill=FLUID)
    deviation = scan.see(atlas.deviation, fill=FLUID)
    zadc = z_score(adc, mean=mean, deviation=deviation, inside=inside, spacing=scan.geometry.spacing)
    zadc = zadc + smoothed(_specks(rng, brain, scan=scan), inside=inside, spacing=scan.geometry.spacing)
    # The group's age and its spread shift and widen the whole scan.
    wanted, spread = rng.normal(0.12, 0.45), 1.35 * float(np.exp(rng.normal(0, 0.2)))
    factor = spread / float(zadc[inside].std())
    zadc = (zadc - float(zadc[inside].mean())) * np.float32(factor) + np.float32(wanted)
    # Normal brains fall below their norm less often than they rise above it: what is below its median is drawn to it
    # until the share of Z < -1.5 is that of a real scan, or of one beyond them.
    middle = float(np.median(zadc[inside]))
    low = 0.024 * float(np.exp(rng.normal(0, 1.0) - (wanted - 0.12)))
    far = middle - float(np.quantile(zadc[inside], min(low, 0.15)))
    squeeze = np.float32(np.clip((middle + 1.5) / far, 0.3, 1.3))
    zadc = np.where(zadc < middle, middle - squeeze * (middle - zadc), zadc)
    return np.where(inside, zadc, 0), deviation / np.float32(factor)


def _variants(rng: np.random.Generator, brain: Brain) -> np.ndarray:
    """By which share the atlas is too high in places: foci that look like lesions in Z alone."""
    tissue = np.sum(list(brain.tissue.values()), axis=0) * (brain.inside > 1)
    share = float(np.exp(rng.uniform(np.log(0.0002), np.log(0.004))))
    count = int(rng.integers(2, 14))
    height = foci(rng, brain, likely=tissue, count=count, millilitres=share * brain.millilitres)
    level = level_of(height[tissue > 0.5], voxels=round(share * brain.millilitres * 1000 / STEP**3))
    return np.float32(rng.uniform(0.05, 0.3)) * np.clip(0.5 + (height - level) / 2.5, 0, 1)


def _specks(rng: np.random.Generator, brain: Brain, *, scan: Scan) -> np.ndarray:
    """Fall of Z (at most 0) in specks that are no lesions: near the rim, where brains fit one another worst."""
    tissue = np.sum(list(brain.tissue.values()), axis=0)
    likely = np.where(tissue > 0.5, np.exp(-brain.inside / np.float32(rng.uniform(1.5, 6))), 0) * (brain.inside > 1)
    count = int(np.exp(rng.uniform(np.log(5), np.log(100))))
    millilitres = count * float(rng.uniform(0.02, 0.1))
    height = scan.see(foci(rng, brain, likely=likely, count=count, millilitres=millilitres), fill=-1e3)
    level = level_of(height, voxels=max(1, round(millilitres / scan.geometry.voxel_ml)))
    return np.float32(-rng.uniform(0.8, 2.8)) * np.clip(0.5 + (height - level) / np.float32(1.5), 0, 1)


def _injure(
    rng: np.random.Generator,
    share: float,
    *,
    brain: Brain,
    scan: Scan,
    inside: np.ndarray,
    clean: np.ndarray,
    zadc: np.ndarray,
) -> Injury:
    """Lesions of about a share of the brain: sharp or diffuse, each in part more and in part less visible."""
    likely = susceptibility(brain, pattern=str(rng.choice(list(PATTERNS))))
    if share > 0.2:  # what is injured as a whole has no pattern
        likely = likely + np.float32(0.5 * likely.max()) * (brain.inside > 2)
    likely = likely * scan.covers(brain.position, middle=tuple(n // 2 for n in likely.shape))
    millilitres = share * brain.millilitres
    count = 1 + round(30 * min(1.0, (share / 0.02) ** 0.6) * float(np.exp(rng.normal(0, 0.75))))
    tissue = inside & (clean < 1900)

    def height_of(count: int, millilitres: float, spread: float) -> np.ndarray:
        field = scan.see(
            foci(rng, brain, likely=likely, count=count, millilitres=millilitres, spread=spread), fill=-1e3
        )
        return field - level_of(field[tissue], voxels=max(4, round(millilitres / scan.geometry.voxel_ml)))

    # What is injured most has small foci beside the large ones. Their edges do not reach -2, nor do all of their cores.
    height = height_of(count, 1.1 * millilitres + 0.1, rng.uniform(0.2, 0.55))
    if share > 0.01:
        beside = 1 + round(16 * float(np.exp(rng.normal(0, 0.7))))
        height = np.maximum(height, height_of(beside, 0.25 * beside, 0.3))
    radius = float(np.cbrt(1000 * millilitres / count / (4 / 3 * np.pi)))
    edge = np.clip(radius * np.exp(rng.uniform(np.log(0.3), np.log(3.0))), 0.8, 8.0)
    profile = np.clip(0.5 + height / np.float32(edge), 0, 1) * np.clip((2400 - clean) / 600, 0, 1) * inside
    deepest = np.float32(rng.normal(-2.5, 0.3))
    uneven = smooth_noise(rng, likely.shape, sigma=float(rng.uniform(2, 8)) / STEP)
    core = deepest + np.float32(rng.uniform(0.2, 1.0)) * scan.see(uneven)
    return Injury(profile=profile, fall=np.minimum(profile * (core - np.float32(0.6) * zadc), 0))
