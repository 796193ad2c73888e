"""A normative atlas of ADC and the Z map that it gives: how far each voxel lies from normal brains at its place.

What makes real Z maps other than rescaled ADC is all here: the atlas knows the place, not this brain's own folds and
ventricles; its deviation is small in white matter and deep grey and large where fluid begins; it is registered a few mm
off; and it was made of brains of another age on another scanner.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from multifocal.cohorts.phantom.brain import STEP, Head, layered, smooth_noise

SPREAD: Mapping[str, float] = {
    "white": 0.085,
    "cortex": 0.10,
    "capsule": 0.07,
    "deep": 0.065,
    "rim": 0.15,
    "cerebellum": 0.09,
    "stem": 0.07,
    "fluid": 0.15,
}
"""Standard deviation of ADC among normal brains, as a share of the tissue's mean."""


LEAST = np.float32(30)
"""No deviation is smaller (1e-6 mm²/s); outside the brain there would be none."""


@dataclass(frozen=True)
class Atlas:
    """Mean and standard deviation of ADC (1e-6 mm²/s) in normal brains, on the fine grid of a head."""

    mean: np.ndarray
    deviation: np.ndarray


def make_atlas(rng: np.random.Generator, head: Head, *, levels: Mapping[str, float]) -> Atlas:
    """Return an atlas as it is registered to a head: of other brains, and not quite in its place.

    Args:
        rng: source of all chance.
        head: what it is registered to.
        levels: ADC by tissue (see `layered`) of this head, from which the atlas's own differ by age.

    Returns:
        The atlas.
    """
    share, inside = head.share, (head.anatomy.inside > 0).astype(np.float32)
    normal = {name: level * (1 + rng.normal(0, 0.03)) for name, level in levels.items()}
    spread = {name: normal[name] * part * np.exp(rng.normal(0, 0.2)) for name, part in SPREAD.items()}
    image = layered(share, normal)
    blur = rng.uniform(2.0, 4.5) / STEP
    # Inside the brain, but for brains of the group that are smaller there: their 0 lowers the norm of the rim.
    weight = np.maximum(_gaussian(inside, blur), 1e-3)
    mean = _gaussian(image * inside, blur) / weight
    # Brains differ in their values, and in where their tissues lie after registration.
    places = _gaussian((image - mean) ** 2 * inside, blur) / weight
    own = _gaussian(layered(share, spread) * inside, blur) / weight
    variance = own**2 + np.float32(rng.uniform(0.8, 3.0)) * places
    outside = np.float32(rng.uniform(0, 0.7)) * (1 - weight)
    mean, variance = mean * (1 - outside), variance * (1 - outside) + outside * (1 - outside) * mean**2
    # Where the group differs from this brain, its norm is more often too low than too high.
    slow = smooth_noise(rng, mean.shape, sigma=rng.uniform(4, 10) / STEP)
    slow = np.float32(-rng.uniform(0.7, 1.2)) * (np.exp(np.float32(0.7) * slow) - np.float32(1.28))
    places_of = _displaced(rng, mean.shape, millimetres=rng.uniform(1, 4))
    mean, variance = (ndimage.map_coordinates(field, places_of, order=1, mode="nearest") for field in (mean, variance))
    deviation = np.sqrt(np.maximum(variance, LEAST**2))
    return Atlas(mean=mean + slow * deviation, deviation=deviation)


def z_score(
    adc: np.ndarray, *, mean: np.ndarray, deviation: np.ndarray, inside: np.ndarray, spacing: tuple[float, ...]
) -> np.ndarray:
    """Return (ADC - mean) / deviation, smoothed inside the brain by 2 mm (full width at half maximum).

    Args:
        adc: in 1e-6 mm²/s.
        mean: of normal brains.
        deviation: of normal brains.
        inside: where the brain is.
        spacing: of the voxels in mm.

    Returns:
        float32, 0 outside the brain.
    """
    score = np.where(inside, (adc - mean) / deviation, 0).astype(np.float32)
    return smoothed(score, inside=inside, spacing=spacing)


def smoothed(score: np.ndarray, *, inside: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Return a field smoothed inside the brain by 2 mm (full width at half maximum).

    Args:
        score: the field, 0 outside the brain.
        inside: where the brain is.
        spacing: of the voxels in mm.

    Returns:
        float32, 0 outside the brain.
    """
    sigma = [2.0 / 2.3548 / s for s in spacing]
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(score.astype(np.float32), sigma) / np.maximum(weight, 1e-3)
    return np.where(inside, smooth, 0).astype(np.float32)


def _displaced(rng: np.random.Generator, shape: tuple[int, ...], *, millimetres: float) -> np.ndarray:
    """The indices of all voxels, moved smoothly by so many mm (root mean square)."""
    each = np.float32(millimetres / np.sqrt(3) / STEP)
    moves = [each * smooth_noise(rng, shape, sigma=rng.uniform(8, 24) / STEP) for _ in shape]
    return np.indices(shape, np.float32) + np.stack(moves)


def _gaussian(field: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(field, sigma, truncate=2.5)
