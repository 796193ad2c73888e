"""Adults with white-matter hyperintensities: FLAIR and label, in the layout of an nnU-Net dataset.

Lesions lie around the ventricles, where they flow together, and scattered in the deep white matter. Their sizes and
numbers are measured on 29 consensus masks of patients with multiple sclerosis at 1 mm (Lesjak et al., Neuroinformatics
2017, doi:10.1007/s12021-017-9348-7): quantiles over the patients are dealt out to the cases in a random order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import (
    HALF_WIDTH,
    Anatomy,
    blend,
    generator,
    make_anatomy,
    ramp,
    smooth_noise,
)
from multifocal.cohorts.phantom.cohort import PHANTOMS, check_request
from multifocal.cohorts.phantom.lesions import level_of
from multifocal.cohorts.phantom.scan import Protocol, Scan, make_scan
from multifocal.files import write_json
from multifocal.volumes import Volume, write

STEP = 1.0
"""Spacing of the fine grid in mm."""

ADULT = 1.38
"""An adult's brain is so many times as long as a term neonate's."""

LESION_ML = ((0.0, 0.3), (0.1, 1.0), (0.25, 1.6), (0.5, 14.0), (0.75, 30.0), (0.9, 42.0), (1.0, 52.0))
"""Points (quantile, volume of all lesions in ml), measured; between two the logarithm is linear."""

LESION_COUNT = ((0.0, 17.0), (0.1, 21.0), (0.25, 37.0), (0.5, 82.0), (0.75, 116.0), (0.9, 247.0), (1.0, 392.0))
"""Points (quantile, number of lesions: components that may touch at corners), measured in the same way."""

PROTOCOLS = (
    (Protocol(216, (178, 188), (1.0, 1.0, 1.0), 0.05), 0.5),
    (Protocol(240, (46, 50), (0.9583, 0.9583, 3.0), 0.04), 0.3),
    (Protocol(232, (46, 50), (1.0, 1.0, 3.0), 0.045), 0.2),
)
"""The protocols and how often each is met: one in 3D, two of slices. Noise is a share of the white matter's signal."""

CORTEX, DEEP, STEM, CEREBELLUM, FLUID = 1.2, 1.04, 0.98, 1.08, 0.28
"""Signal of FLAIR, white matter's being 1; cortex and fluid as measured in two patients of the same source."""


@dataclass(frozen=True)
class CasePlan:
    """What one case is to be.

    Attributes:
        name: of the case.
        millilitres: volume of all lesions.
        count: about how many there are.
        protocol: how it is acquired.
    """

    name: str
    millilitres: float
    count: int
    protocol: Protocol


@dataclass(frozen=True)
class FlairCase:
    """A synthetic case: two images on one grid.

    Attributes:
        name: of the case.
        flair: int16, 0 outside the brain only.
        label: uint8, 1 in lesions.
    """

    name: str
    flair: Volume
    label: Volume


@PHANTOMS.register("wmh")
def write_case(folder: Path, *, seed: int, index: int, cases: int) -> None:
    """Adults with white-matter hyperintensities: FLAIR and lesion label as an nnU-Net dataset.

    Args:
        folder: of the cohort.
        seed: what it is drawn with.
        index: which case, from 0; the first brings the file that describes them all.
        cases: how many there are.
    """
    case = flair_case(seed=seed, index=index, cases=cases)
    write(folder / "imagesTr" / f"{case.name}_0000.nii.gz", case.flair)
    write(folder / "labelsTr" / f"{case.name}.nii.gz", case.label)
    if index == 0:
        description = {
            "channel_names": {"0": "FLAIR"},
            "labels": {"background": 0, "lesion": 1},
            "numTraining": cases,
            "file_ending": ".nii.gz",
            "description": f"synthetic: multifocal data phantom --kind wmh --cases {cases} --seed {seed}",
        }
        write_json(folder / "dataset.json", description)


def flair_case(*, seed: int, index: int, cases: int) -> FlairCase:
    """Return case `index` (from 0) of the synthetic cohort of so many `cases`: the same arguments, the same case.

    Args:
        seed: of the cohort.
        index: which case, from 0.
        cases: how many the cohort has.

    Returns:
        Image and label.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.
    """
    check_request(cases=cases, seed=seed, index=index)
    plan = plan_cohort(seed=seed, cases=cases)[index]
    rng = generator(seed, 11, index)
    brain = _make_brain(rng)
    scan = make_scan(rng, protocol=plan.protocol, tilt=abs(rng.normal(0, 6)), inside=brain.anatomy.inside, step=STEP)
    inside = scan.see(brain.anatomy.inside, fill=-1.0) > 0
    height = _lesions(rng, plan, brain=brain)
    seen = scan.see(height, fill=-9.0)
    label = inside & (seen > 0) & (scan.see(brain.white) > 0.3)
    flair = _measure(rng, plan.protocol, brain=brain, scan=scan, height=height, inside=inside)
    images = (Volume(scan.paste(box).astype(kind), scan.geometry) for box, kind in ((flair, "int16"), (label, "uint8")))
    return FlairCase(plan.name, *images)


def plan_cohort(*, seed: int, cases: int) -> tuple[CasePlan, ...]:
    """Return the plan of every case of a cohort.

    Args:
        seed: of the cohort.
        cases: how many it has.

    Returns:
        The plans in order.

    Raises:
        UserError: `cases` below 1 or `seed` below 0.
    """
    check_request(cases=cases, seed=seed)
    rng = generator(seed, 10)
    middles = (np.arange(cases) + 0.5) / cases
    loads = rng.permutation(middles)
    # Who has more lesions has more of them in number, too: the correlation of the logarithms is 0.8.
    ranks = np.argsort(np.argsort(loads + rng.normal(0, 0.2, cases)))
    bounds = np.cumsum([weight for _, weight in PROTOCOLS])
    picks = rng.permutation(np.searchsorted(bounds[:-1], middles, side="right"))
    return tuple(
        CasePlan(
            f"WMH_{index + 1:03d}",
            _at(LESION_ML, loads[index]),
            round(_at(LESION_COUNT, middles[ranks[index]])),
            PROTOCOLS[int(picks[index])][0],
        )
        for index in range(cases)
    )


@dataclass(frozen=True)
class _Brain:
    """A healthy adult brain on the fine grid: surfaces, share of white matter, mm to the ventricles, and FLAIR."""

    anatomy: Anatomy
    white: np.ndarray
    away: np.ndarray
    flair: np.ndarray
    position: tuple[np.ndarray, np.ndarray, np.ndarray]


def _at(points: tuple[tuple[float, float], ...], quantile: float) -> float:
    quantiles, values = np.array(points).T
    return float(np.exp(np.interp(quantile, quantiles, np.log(values))))


def _make_brain(rng: np.random.Generator) -> _Brain:
    """A brain of 1.0 to 1.4 l whose size, shape, folding, ventricles and contrast vary."""
    shape = tuple(int(n) for n in 2 * np.ceil(HALF_WIDTH * ADULT * 0.99 / STEP) + 1)
    axes = [((np.arange(n) - n // 2) * STEP).astype(np.float32) for n in shape]
    position = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    size = ADULT * np.clip(rng.normal(0.97, 0.03), 0.9, 1.04) * rng.uniform(0.97, 1.03, 3)
    bends = [np.float32(1.5) * smooth_noise(rng, shape, sigma=26 / STEP) for _ in range(3)]
    x, y, z = (p / np.float32(s) + bend for p, s, bend in zip(position, size, bends, strict=True))
    ragged = smooth_noise(rng, shape, sigma=3 / STEP)
    # Age widens the ventricles, from those of a child to several times their volume.
    anatomy = make_anatomy(rng, x, y, z, step=STEP / ADULT, ragged=ragged, wide=(0.75, 2.3))
    pial = _pial(rng, anatomy)
    ribbon = np.float32(rng.uniform(2.4, 3.0)) + np.float32(0.4) * ragged
    fluid = ramp(anatomy.ventricles, width=0.6)
    cerebrum, inner = ramp(pial - 0.2), ramp(pial - ribbon, width=1.2)
    deep = ramp(anatomy.nuclei)
    stem, cerebellum = ramp(anatomy.stem), ramp(anatomy.cerebellum)
    white = inner * cerebrum * (1 - deep) * (1 - stem) * (1 - cerebellum) * (1 - fluid)
    texture = smooth_noise(rng, shape, sigma=6 / STEP)
    level = 1 + rng.normal(0, 0.02, 5)
    flair = blend(CORTEX * level[0], 1 + np.float32(0.03) * texture, inner)
    flair = blend(flair, DEEP * level[1] * (1 + np.float32(0.02) * texture), deep)
    flair = blend(FLUID, flair, cerebrum)
    flair = blend(flair, CEREBELLUM * level[2] * (1 + np.float32(0.04) * ragged), cerebellum)
    flair = blend(flair, STEM * level[3], stem)
    flair = blend(flair, FLUID * level[4], fluid)
    # Two mm suffice for a distance: half the points along each axis, an eighth of the work.
    coarse = ndimage.distance_transform_edt(anatomy.ventricles[::2, ::2, ::2] <= 0).astype(np.float32)
    away = np.repeat(np.repeat(np.repeat(coarse, 2, 0), 2, 1), 2, 2)[tuple(slice(n) for n in shape)] * 2 * STEP
    return _Brain(anatomy, white, ndimage.uniform_filter(away, 3), flair.astype(np.float32), position)


def _pial(rng: np.random.Generator, anatomy: Anatomy) -> np.ndarray:
    """Depth under the pial surface in mm, positive in the cerebrum; an adult's sulci are deep and, with age, wide."""
    sigma = 4.0
    # Sulci are the zero set of smooth noise; dividing by its mean slope makes it a distance near that set.
    folds = np.abs(smooth_noise(rng, anatomy.inside.shape, sigma=sigma / STEP)) * np.float32(1.3 * sigma)
    under = np.float32(ADULT) * anatomy.inside
    sulci = folds - np.float32(rng.uniform(0.3, 1.0)) + np.float32(0.3) * np.maximum(under - 10, 0)
    return np.minimum(np.minimum(np.float32(ADULT) * anatomy.cerebrum, under - 1), sulci)


def _lesions(rng: np.random.Generator, plan: CasePlan, *, brain: _Brain) -> np.ndarray:
    """A field in mm, positive in lesions: those that grow from the ventricles, and scattered foci."""
    around = float(np.clip(rng.normal(0.5, 0.2), 0.1, 0.9))
    height = _periventricular(rng, brain, millilitres=around * plan.millilitres)
    foci = _foci(rng, brain, count=plan.count, millilitres=(1 - around) * plan.millilitres)
    return np.maximum(height, foci)


def _periventricular(rng: np.random.Generator, brain: _Brain, *, millilitres: float) -> np.ndarray:
    """Lesions along the ventricles' walls, thickest at the horns, that reach outwards as they grow."""
    shape = brain.white.shape
    rough = smooth_noise(rng, shape, sigma=8 / STEP) + np.float32(0.15) * smooth_noise(rng, shape, sigma=2.5 / STEP)
    horns = np.clip(np.abs(brain.position[1]) / (25 * ADULT), 0, 1)
    reach = 7.0 + 3.0 * np.sqrt(millilitres)
    field = (np.float32(0.55) * rough + np.float32(0.6) * horns) * np.float32(reach) - brain.away
    # Of the wall itself a few voxels only: the rim there is bright in everybody.
    field = np.where(brain.white > 0.5, field - np.float32(3) * np.maximum(2.5 - brain.away, 0), -99)
    level = level_of(field, voxels=round(millilitres * 1000 / STEP**3))
    return np.clip((field - level) / 2, -9, 9).astype(np.float32)


def _foci(rng: np.random.Generator, brain: _Brain, *, count: int, millilitres: float) -> np.ndarray:
    """Scattered foci of very unequal sizes, oval, with uneven surfaces; denser near the ventricles."""
    shape, count = brain.white.shape, round(1.1 * count)
    likely = np.where(brain.white > 0.8, np.exp(-brain.away / np.float32(20)) + np.float32(0.3), 0)
    share = np.cumsum(likely.ravel(), dtype=np.float64)
    drawn = np.searchsorted(share, rng.random(count) * share[-1])
    centres = np.stack(np.unravel_index(drawn, shape), axis=1) + rng.uniform(-0.5, 0.5, (count, 3))
    # What flows together, or lies between two voxels, is one lesion fewer.
    volumes = np.exp(rng.normal(0, 1.4, count))
    volumes = np.maximum(volumes * (1000 * millilitres / volumes.sum()), 4.0)
    rough = smooth_noise(rng, shape, sigma=1.8 / STEP)
    field = np.full(shape, -9, np.float32)
    for centre, volume in zip(centres, volumes, strict=True):
        radius = float(np.cbrt(volume / (4 / 3 * np.pi))) / STEP
        stretch = np.exp(rng.normal(0, 0.3, 3))
        stretch /= np.cbrt(stretch.prod())
        reach = 2 * radius * stretch + 3
        low, high = np.maximum(centre - reach, 0).astype(int), np.minimum(centre + reach + 1, shape).astype(int)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offsets = (
            ((np.arange(a, b) - c) / s).astype(np.float32)
            for a, b, c, s in zip(low, high, centre, stretch, strict=True)
        )
        x, y, z = np.ix_(*offsets)
        ball = np.float32(radius) * (1 + np.float32(0.25) * rough[window]) - np.sqrt(x**2 + y**2 + z**2)
        np.maximum(field[window], ball, out=field[window])
    return field * np.float32(STEP)


def _measure(
    rng: np.random.Generator, protocol: Protocol, *, brain: _Brain, scan: Scan, height: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """The FLAIR as stored: lesions and a thin bright rim of the ventricles, bias of the coil, noise, whole numbers."""
    shape = brain.white.shape
    bright = np.float32(np.clip(rng.normal(0.45, 0.06), 0.3, 0.6))
    uneven = 1 + np.float32(0.25) * smooth_noise(rng, shape, sigma=4 / STEP)
    lesion = bright * uneven * np.clip(np.float32(0.55) + height / np.float32(2.4), 0, 1)
    # The wall of the ventricles and the white matter of old age are a little bright without being lesions.
    rim = np.float32(rng.uniform(0.08, 0.2)) * np.exp(-np.maximum(brain.away - 1, 0) / np.float32(1.5))
    haze = np.float32(rng.uniform(0.0, 0.08)) * np.clip(smooth_noise(rng, shape, sigma=8 / STEP), 0, 2)
    flair = brain.flair + np.maximum(lesion, rim + haze) * brain.white
    bias = 1 + np.float32(0.06) * smooth_noise(rng, shape, sigma=45 / STEP)
    seen = scan.see(flair * bias, fill=FLUID)
    seen = seen + rng.normal(0, protocol.noise, seen.shape)
    white = float(np.exp(rng.uniform(np.log(80), np.log(800))))
    return np.where(inside, np.clip(np.rint(white * seen), 1, 32767), 0).astype(np.float32)
