"""Scattered, irregular foci of an exact total size: the lesions, and the normal variants that look like them."""

from collections.abc import Mapping

import numpy as np

from multifocal.cohorts.phantom.brain import STEP, Brain, smooth_noise

PATTERNS: Mapping[str, Mapping[str, float]] = {
    "deep grey": {"deep": 6.0, "stem": 2.0, "cortex": 0.4, "white": 0.4, "cerebellum": 0.5},
    "watershed": {"white": 2.0, "cortex": 2.5, "deep": 0.2},
    "white matter": {"white": 3.0, "deep": 1.5, "cortex": 0.5, "stem": 0.5},
    "cortical": {"cortex": 4.0, "white": 1.0, "deep": 0.5, "cerebellum": 0.3},
}
"""How likely a focus starts in a tissue, for each of the patterns of injury."""


def susceptibility(brain: Brain, *, pattern: str) -> np.ndarray:
    """Return how likely a focus of a pattern starts in each voxel of the fine grid (not normalised).

    In "watershed", only the borders between the territories of the large arteries are likely: parasagittal, before
    and behind.

    Args:
        brain: the brain.
        pattern: a key of `PATTERNS`.

    Returns:
        An array of the fine grid's shape, 0 outside the brain.
    """
    weights = PATTERNS[pattern]
    likely = np.sum([np.float32(weight) * brain.tissue[name] for name, weight in weights.items()], axis=0)
    if pattern == "watershed":
        x, y, z = brain.position
        zone = np.exp(-(((np.abs(x) - 22) / 10) ** 2) - ((np.abs(y) - 32) / 14) ** 2 - ((z - 18) / 16) ** 2)
        likely = likely * (zone + 0.02)
    return likely * (brain.inside > 2)


def foci(
    rng: np.random.Generator,
    brain: Brain,
    *,
    likely: np.ndarray,
    count: int,
    millilitres: float,
    spread: float = 0.35,
) -> np.ndarray:
    """Return a field in mm whose highest voxels are `count` irregular foci with about the given total volume.

    Each focus is a ball of its own size and stretch, its surface displaced by smooth noise and drawn towards the
    likely tissue; some have a mirror image in the other hemisphere. The level that holds an exact volume is the
    caller's to find: every level gives plausible shapes.

    Args:
        rng: source of all chance.
        brain: the brain.
        likely: how likely a focus starts in each voxel of the fine grid.
        count: how many foci.
        millilitres: their volume in all.
        spread: standard deviation of the logarithms of their radii.

    Returns:
        The field on the fine grid.
    """
    centres, radii = _sites(rng, likely=likely, count=count, millilitres=millilitres, spread=spread)
    typical = float(np.cbrt(np.mean(radii**3)))
    shape = likely.shape
    field = np.full(shape, -1e3, np.float32)
    for centre, radius in zip(centres, radii, strict=True):
        stretch = np.exp(rng.normal(0, 0.4, 3))
        stretch /= np.cbrt(stretch.prod())
        reach = 2.2 * radius * stretch + 8
        window, offsets = [], []
        for axis, (middle, far) in enumerate(zip(centre, reach, strict=True)):
            low, high = np.clip((np.array([middle - far, middle + far]) / STEP + shape[axis] // 2), 0, shape[axis])
            window.append(slice(int(low), int(np.ceil(high))))
            offsets.append(brain.position[axis].ravel()[window[-1]] - np.float32(middle))
        grid = np.ix_(*(offset / np.float32(s) for offset, s in zip(offsets, stretch, strict=True)))
        near = field[tuple(window)]
        np.maximum(near, np.float32(radius) - np.sqrt(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2), out=near)
    rough = smooth_noise(rng, shape, sigma=2.6 / STEP) + smooth_noise(rng, shape, sigma=6 / STEP)
    draw = np.clip(likely / max(float(np.quantile(likely[likely > 0], 0.9)), 1e-6), 0, 1)
    return field + np.float32(0.3 * typical) * rough + np.float32(0.7 * typical) * draw


def level_of(height: np.ndarray, *, voxels: int) -> float:
    """Return the level that so many voxels of a field (at least 1, at most all) reach.

    Args:
        height: the field.
        voxels: how many.

    Returns:
        A value of the field.

    Example:
        >>> level_of(np.array([3.0, 1.0, 2.0]), voxels=2)
        2.0
    """
    rank = height.size - min(max(voxels, 1), height.size)
    return float(np.partition(height.ravel(), rank)[rank])


def _sites(
    rng: np.random.Generator, *, likely: np.ndarray, count: int, millilitres: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the centres (mm) and radii (mm) of foci whose balls have the total volume."""
    share = np.cumsum(likely.ravel(), dtype=np.float64)
    drawn = np.searchsorted(share, rng.random(count) * share[-1])
    index = np.stack(np.unravel_index(drawn, likely.shape), axis=1)
    centres = (index - np.array(likely.shape) // 2 + rng.uniform(-0.5, 0.5, index.shape)) * STEP
    for site in np.flatnonzero(rng.random(count - 1) < 0.2) + 1:
        centres[site] = centres[site - 1] * [-1, 1, 1] + rng.normal(0, 2, 3)
    radii = np.exp(rng.normal(0, spread, count))
    return centres, radii * np.cbrt(1000 * millilitres / (4 / 3 * np.pi * np.sum(radii**3)))
