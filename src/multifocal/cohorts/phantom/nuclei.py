"""Nuclei under a microscope: 2D images with label maps, in the layout images2d.

Two kinds of images, as in the set that the sizes and numbers are measured on (115 images of the Data Science Bowl 2018;
Caicedo et al., Nature Methods 2019, doi:10.1038/s41592-019-0612-7): tissue in colour, stained with haematoxylin and
eosin, and fluorescence in grey. Quantiles over the images are dealt out to the cases in a random order.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from multifocal.cohorts.phantom.brain import generator, smooth_noise
from multifocal.cohorts.phantom.cohort import PHANTOMS, check_request
from multifocal.volumes import Geometry, Volume, write

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Look:
    """A kind of image, with what was measured on the real ones of its kind.

    Attributes:
        coloured: whether it is stained tissue in colour; otherwise fluorescence.
        sizes: (width, height) in pixels.
        count: points (quantile, nuclei an image); between two the logarithm is linear.
        foreground: points (quantile, share of the pixels that are nuclei).
        clustered: least and most share of the nuclei that are laid at the side of another one.
    """

    coloured: bool
    sizes: tuple[tuple[int, int], ...]
    count: Points
    foreground: Points
    clustered: tuple[float, float]


LOOKS = (
    (
        Look(
            coloured=True,
            sizes=((320, 256),),
            count=((0.0, 8.0), (0.1, 13.0), (0.5, 37.0), (0.9, 85.0), (1.0, 150.0)),
            foreground=((0.0, 0.06), (0.1, 0.11), (0.5, 0.215), (0.9, 0.34), (1.0, 0.45)),
            clustered=(0.0, 0.16),
        ),
        0.65,
    ),
    (
        Look(
            coloured=False,
            sizes=((256, 256), (256, 256), (360, 360), (696, 520)),
            count=((0.0, 4.0), (0.1, 10.0), (0.5, 24.0), (0.9, 59.0), (1.0, 135.0)),
            foreground=((0.0, 0.01), (0.1, 0.019), (0.5, 0.108), (0.9, 0.295), (1.0, 0.4)),
            clustered=(0.0, 0.14),
        ),
        0.35,
    ),
)
"""The kinds of images and how often each is met."""

HAEMATOXYLIN, EOSIN = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105)
"""Optical density of the stains in red, green and blue (Ruifrok and Johnston, Anal Quant Cytol Histol 23:291, 2001)."""

LEAST_AREA = 20
"""Nuclei of fewer pixels (cut by the border, or hidden by others) are left out."""


@dataclass(frozen=True)
class CasePlan:
    """What one image is to be.

    Attributes:
        name: of the case.
        look: its kind.
        size: (width, height) in pixels.
        count: about how many nuclei.
        foreground: about which share of the pixels they cover.
        clustered: the share of them that are laid at the side of another one.
    """

    name: str
    look: Look
    size: tuple[int, int]
    count: int
    foreground: float
    clustered: float


@dataclass(frozen=True)
class NucleiCase:
    """A synthetic image and its nuclei.

    Attributes:
        name: of the case.
        image: uint8 `(x, y)`, or `(x, y, 3)` in colour.
        labels: uint16 `(x, y)`: 0 is background, the nuclei are 1 to n.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray


@PHANTOMS.register("nuclei")
def write_case(folder: Path, *, seed: int, index: int, cases: int) -> None:
    """Nuclei under a microscope: 2D images in colour and in grey, and label maps of the instances.

    Args:
        folder: of the cohort.
        seed: what it is drawn with.
        index: which case, from 0.
        cases: how many there are.
    """
    case = nuclei_case(seed=seed, index=index, cases=cases)
    image = folder / "images" / f"{case.name}.png"
    image.parent.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(case.image.swapaxes(0, 1))).save(image)
    grid = Geometry(case.labels.shape, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
    write(folder / "masks" / f"{case.name}.png", Volume(case.labels, grid))


def nuclei_case(*, seed: int, index: int, cases: int) -> NucleiCase:
    """Return case `index` (from 0) of the synthetic cohort of so many `cases`: the same arguments, the same case.

    Args:
        seed: of the cohort.
        index: which case, from 0.
        cases: how many the cohort has.

    Returns:
        Image and label map.

    Raises:
        UserError: `cases` below 1, `seed` negative, or `index` outside the cohort.
    """
    check_request(cases=cases, seed=seed, index=index)
    plan = plan_cohort(seed=seed, cases=cases)[index]
    rng = generator(seed, 21, index)
    labels = _draw(rng, plan)
    image = (_stained if plan.look.coloured else _fluorescent)(rng, labels)
    return NucleiCase(plan.name, np.clip(np.rint(image), 0, 255).astype(np.uint8), labels)


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
    rng = generator(seed, 20)
    bounds = np.cumsum([weight for _, weight in LOOKS])
    middles = (np.arange(cases) + 0.5) / cases
    picks = rng.permutation(np.searchsorted(bounds[:-1], middles, side="right"))
    ranks = np.empty(cases)
    for number in range(len(LOOKS)):
        own = np.flatnonzero(picks == number)
        ranks[own] = rng.permutation((np.arange(own.size) + 0.5) / max(1, own.size))
    plans = []
    for index, (pick, rank) in enumerate(zip(picks, ranks, strict=True)):
        look = LOOKS[int(pick)][0]
        # Where there are more nuclei they cover more, though they are smaller.
        covered = float(np.clip(0.5 * rank + 0.5 * rng.random(), 0, 1))
        plans.append(
            CasePlan(
                name=f"nuclei_{index + 1:03d}",
                look=look,
                size=look.sizes[int(rng.integers(len(look.sizes)))],
                count=round(_at(look.count, rank)),
                foreground=_at(look.foreground, covered),
                clustered=float(rng.uniform(*look.clustered)),
            )
        )
    return tuple(plans)


def _at(points: Points, quantile: float) -> float:
    quantiles, values = np.array(points).T
    return float(np.exp(np.interp(quantile, quantiles, np.log(values))))


def _draw(rng: np.random.Generator, plan: CasePlan) -> np.ndarray:
    """The label map: uneven ovals, which press flat where they meet, numbered from 1."""
    area = plan.foreground * np.prod(plan.size) / plan.count
    radii = np.sqrt(area / np.pi) * np.exp(rng.normal(-0.06, 0.27, plan.count))
    centres = _places(rng, radii, size=plan.size, clustered=plan.clustered)
    highest = np.zeros(plan.size, np.float32)
    labels = np.zeros(plan.size, np.uint16)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        angle, stretch = rng.uniform(0, np.pi), np.exp(abs(rng.normal(0, 0.16)))
        waves, phases = rng.normal(0, 0.05, 3), rng.uniform(0, 2 * np.pi, 3)
        reach = radius * stretch * 1.3 + 2
        low = np.maximum(np.floor(centre - reach), 0).astype(int)
        high = np.minimum(np.ceil(centre + reach) + 1, plan.size).astype(int)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        x, y = np.meshgrid(*(np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)), indexing="ij")
        along = (x * np.cos(angle) + y * np.sin(angle)) / stretch
        across = (y * np.cos(angle) - x * np.sin(angle)) * stretch
        around = np.arctan2(across, along)
        uneven = 1 + sum(w * np.cos(k * around + p) for k, w, p in zip((2, 3, 5), waves, phases, strict=True))
        # Of two nuclei that overlap each keeps the side on which it is the deeper one.
        depth = (radius * uneven - np.hypot(along, across)).astype(np.float32)
        wins = depth > highest[window]
        labels[window][wins] = number
        highest[window][wins] = depth[wins]
    return _renumbered(labels)


def _places(rng: np.random.Generator, radii: np.ndarray, *, size: tuple[int, int], clustered: float) -> np.ndarray:
    """The centres: some at the side of an earlier nucleus, the others anywhere, none deep inside another."""
    centres = np.empty((len(radii), 2))
    for number, radius in enumerate(radii):
        others, theirs = centres[:number], radii[:number]
        best, most = rng.uniform(0, size), -np.inf
        for _ in range(30):
            if number and rng.random() < clustered:
                near = int(rng.integers(number))
                angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 0.98) * (radius + radii[near])
                place = np.clip(others[near] + apart * np.array([np.cos(angle), np.sin(angle)]), 0, size)
            else:
                place = rng.uniform(0, size)
            gap = float(np.min(np.hypot(*(others - place).T) / (theirs + radius), initial=np.inf))
            if gap > most:
                best, most = place, gap
            if gap > 0.83:
                break
        centres[number] = best
    return centres


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """The largest piece of each nucleus that is large enough, numbered from 1."""
    kept = np.zeros_like(labels)
    count = 0
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        pieces, _ = ndimage.label(labels[window] == number)
        areas = np.bincount(pieces.ravel())
        areas[0] = 0
        if areas.max() >= LEAST_AREA:
            count += 1
            kept[window][pieces == areas.argmax()] = count
    return kept


def _each(rng: np.random.Generator, labels: np.ndarray, *, mean: float, spread: float) -> np.ndarray:
    """A level for each nucleus, as an image; the background has 0."""
    levels = mean * np.exp(rng.normal(0, spread, int(labels.max()) + 1))
    levels[0] = 0
    return levels[labels]


def _fluorescent(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Bright nuclei of unequal brightness on a dark, uneven ground, blurred, with the noise of photons."""
    shape = labels.shape
    bright = float(np.exp(rng.uniform(np.log(14), np.log(130))))
    chromatin = 1 + 0.22 * smooth_noise(rng, shape, sigma=2.5)
    light = _each(rng, labels, mean=bright, spread=0.3) * chromatin
    blurred = ndimage.gaussian_filter(light, rng.uniform(0.7, 1.6)) + 0.1 * ndimage.gaussian_filter(light, 12.0)
    ground = rng.uniform(3, 13) * (1 + 0.12 * smooth_noise(rng, shape, sigma=60.0))
    return rng.poisson(np.maximum(blurred + ground, 0) * 4) / 4 + rng.normal(0, 1.0, shape)


def _stained(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Tissue in haematoxylin (nuclei) and eosin (fibres, holes between them), by the law of Beer and Lambert."""
    shape = labels.shape
    chromatin = 1 + 0.2 * smooth_noise(rng, shape, sigma=1.8)
    blue = _each(rng, labels, mean=rng.uniform(0.45, 1.0), spread=0.14) * chromatin
    blue = ndimage.gaussian_filter(blue, rng.uniform(0.6, 1.1)) + rng.uniform(0.03, 0.3)
    fibres = np.abs(smooth_noise(rng, shape, sigma=5.0)) * 0.18 + 0.05 * smooth_noise(rng, shape, sigma=1.2)
    pink = rng.uniform(0.1, 0.6) + fibres * rng.uniform(0.2, 1.0)
    holes = smooth_noise(rng, shape, sigma=14.0) > rng.uniform(1.2, 2.2)
    pink = np.where(ndimage.gaussian_filter((holes & (labels == 0)).astype(float), 1.5) > 0.5, 0.06, pink)
    density = blue[..., None] * np.array(HAEMATOXYLIN) + np.maximum(pink, 0)[..., None] * np.array(EOSIN)
    return 245 * np.exp(-density) + rng.normal(0, 2.5, (*shape, 3))
