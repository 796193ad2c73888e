"""The surfaces of a neonatal brain: fields in mm over a grid, positive inside, about the distance to the surface.

All take the coordinates of the voxels (mm from the middle of the head: left, posterior, superior), already bent and
scaled to the subject.
"""

from dataclasses import dataclass

import numpy as np

from multifocal.cohorts.phantom.noise import smooth_noise


@dataclass(frozen=True)
class Anatomy:
    """Fields in mm, positive inside: brain with its thin rim of fluid, cerebrum under its folded surface, and parts."""

    inside: np.ndarray
    cerebrum: np.ndarray
    cerebellum: np.ndarray
    stem: np.ndarray
    nuclei: np.ndarray
    capsule: np.ndarray
    ventricles: np.ndarray


def make_anatomy(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, *, step: float, ragged: np.ndarray
) -> Anatomy:
    """Return the surfaces over a grid of `step` mm; `ragged` (noise of deviation 1) frays the skull-stripped edge."""
    side = np.abs(x)
    stem = _stem(side, y, z)
    # The tentorium is a roof: the cerebrum lies above it, the cerebellum below.
    roof = z + 10 + 0.33 * side
    in_front = 3 * np.maximum(0, 10 - y)
    cerebellum = np.minimum(_ellipsoid(side, y, z, centre=(0, 32, -27), radii=(33, 21, 20)), -roof - 0.5)
    hemispheres = _hemispheres(side, y, z)
    hull = np.minimum(hemispheres, roof - 0.5 + in_front)
    # The cistern around the midbrain is open above and in front, where it joins the thalami.
    ambient = -1.3 - stem + 1.5 * np.maximum(0, z + 11) + 0.8 * np.maximum(0, 6 - y)
    nuclei, capsule = _deep_grey(side, y, z)
    ventricles = np.full_like(side, -9)
    middle = tuple(slice(n // 5, n - n // 5) for n in side.shape)
    ventricles[middle] = _ventricles(rng, side[middle], y[middle], z[middle])
    parts = (
        np.minimum(hemispheres, roof + 1 + in_front),
        cerebellum,
        stem + 2 * (z > -38),
        _ellipsoid(side, y, z, centre=(0, -3, -16), radii=(17, 14, 8)),
        _ellipsoid(side, y, z, centre=(0, 14, -18), radii=(30, 12, 13)),
    )
    return Anatomy(
        inside=np.maximum.reduce(parts) + np.float32(0.3) + np.float32(0.6) * ragged,
        cerebrum=np.minimum(_pial(rng, hull, side, y, z, step=step), ambient),
        cerebellum=cerebellum,
        stem=stem,
        nuclei=nuclei,
        capsule=capsule,
        ventricles=ventricles,
    )


def _ellipsoid(
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    *,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> np.ndarray:
    squares = sum(((p - c) * np.float32(1 / r)) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True))
    return (1 - np.sqrt(squares)) * np.float32(np.prod(radii) ** (1 / 3))


def _hemispheres(side: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Both hemispheres as one hull: wider behind, flat below, with temporal lobes."""
    width = 45 + 3.5 * np.sin(y / 38)
    height = z / np.where(z > 0, np.float32(45), 26 + np.clip(y / 6, 0, 5))
    across, along = (side / width) ** 2, (y * np.float32(1 / 58)) ** 2
    vault = (1 - np.sqrt(across + along + height**2 - 0.4 * across * along)) * 42
    temporal = _ellipsoid(side, y, z, centre=(26, -3, -18), radii=(17, 32, 17))
    return np.maximum(vault, temporal)


def _pial(
    rng: np.random.Generator, hull: np.ndarray, side: np.ndarray, y: np.ndarray, z: np.ndarray, *, step: float
) -> np.ndarray:
    """Depth under the pial surface: the hull, its sulci, the Sylvian and the interhemispheric fissure."""
    # Sulci are the zero set of smooth noise; dividing by its mean slope makes it a distance near that set.
    sigma = 3.6
    folds = np.abs(smooth_noise(rng, hull.shape, sigma=sigma / step)) * np.float32(1.3 * sigma)
    sulci = folds + 0.5 + 0.7 * np.maximum(hull - 12, 0)
    fissure = side - 0.3 + np.maximum(_ellipsoid(side, y, z, centre=(0, 2, 3), radii=(30, 35, 17)), 0)
    sylvian = np.abs(0.75 * (y + 14) - 0.66 * (z + 3) + 0.4 * (side - 36)) - 0.4
    sylvian = sylvian + np.maximum(0, 26 - side) + np.maximum(0, np.abs(z) - 14)
    return np.minimum(np.minimum(hull, sulci), np.minimum(fissure, sylvian))


def _stem(side: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Midbrain, pons and medulla: a bent tube."""
    radius = 7 + 4.5 * np.exp(-(((z + 25) / 8) ** 2)) + 4 * np.clip((z + 20) / 10, 0, 1)
    across = radius - np.hypot(side / 1.25, y - 9.5 + 0.25 * (z + 12) + 0.25 * side)
    return np.minimum(across, np.minimum(-4 - z, z + 56))


def _deep_grey(side: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nuclei (thalamus, lentiform, head of the caudate), and the hull of them with the internal capsule."""
    tilt = side + 0.35 * (y - 4)
    thalamus = _ellipsoid(side, y, z, centre=(9, 8, 2), radii=(7.5, 11, 10))
    lentiform = _ellipsoid(tilt, y, z, centre=(18, -4, 1), radii=(5.5, 13, 9))
    caudate = _ellipsoid(side, y, z, centre=(9, -19, 6), radii=(4, 8, 8))
    nuclei = np.maximum(np.maximum(thalamus, lentiform), caudate)
    return nuclei, _ellipsoid(side, y, z, centre=(14, -1, 2), radii=(12, 21, 11))


def _ventricles(rng: np.random.Generator, side: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lateral ventricles as tubes through a few points on each side, the third and the fourth."""
    wide = rng.uniform(0.6, 1.15)
    fourth = _ellipsoid(side, y, z, centre=(0, 22, -28), radii=(5, 3.5, 7))
    third = _ellipsoid(side, y, z, centre=(0, 3, 2), radii=(1.7, 11, 7))
    field = np.maximum(fourth, third)
    points = [(4, -27, 9, 1.4), (6, -14, 12, 2.2), (10, 6, 17, 1.9), (18, 23, 8, 3.2), (16, 36, 3, 1.4)]
    for start, end in zip(points[:-1], points[1:], strict=True):
        field = np.maximum(field, _tube(side, y, z, start=start, end=end, wide=wide))
    if rng.random() < 0.3:
        field = np.maximum(field, _ellipsoid(side, y, z, centre=(0, -18, 11), radii=(2.2, 8, 5)))
    return field


def _tube(
    side: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    *,
    start: tuple[float, ...],
    end: tuple[float, ...],
    wide: float,
) -> np.ndarray:
    """A tube between two points, with its radius (times `wide`) at either; taller than wide, as ventricles are."""
    shape = np.array([1.0, 1.0, 0.6], np.float32)
    a, b = np.array(start[:3], np.float32) * shape, np.array(end[:3], np.float32) * shape
    offset = [side - a[0], y - a[1], z * shape[2] - a[2]]
    axis = b - a
    along = np.clip(sum(p * c for p, c in zip(offset, axis, strict=True)) / float(axis @ axis), 0, 1)
    away = np.sqrt(sum((p - along * c) ** 2 for p, c in zip(offset, axis, strict=True)))
    return wide * (start[3] + along * (end[3] - start[3])) - away
