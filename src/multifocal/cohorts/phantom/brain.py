"""The healthy brain of a synthetic neonate, on a fine grid in the axes of the head.

Its surfaces are fields in mm over the grid, positive inside, about the distance to the surface. Apparent diffusion
coefficients (1e-6 mm²/s) are those of term neonates: high in unmyelinated white matter, low in the deep grey nuclei and
the brainstem, that of water in the cerebrospinal fluid.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

STEP = 1.6
"""Spacing of the fine grid in mm."""

HALF_WIDTH = np.array([58.0, 70.0, 60.0])
"""The fine grid reaches this far (mm) from the middle of the head: left, posterior, superior."""

FLUID, CORTEX, WHITE, DEEP, CAPSULE, STEM, CEREBELLUM = 2850.0, 1140.0, 1600.0, 1070.0, 1200.0, 990.0, 1080.0


@dataclass(frozen=True)
class Brain:
    """A healthy brain: fields of one shape on the grid of `STEP` mm whose middle is the middle of the head.

    Attributes:
        adc: in 1e-6 mm²/s, fluid outside the brain too.
        inside: in mm, positive in the brain.
        tissue: the share of each voxel by the tissue's name.
        position: the (broadcastable) coordinates of the voxels in mm, LPS.
    """

    adc: np.ndarray
    inside: np.ndarray
    tissue: dict[str, np.ndarray]
    position: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def millilitres(self) -> float:
        """Volume of the brain."""
        return float(np.count_nonzero(self.inside > 0)) * STEP**3 / 1000


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


@dataclass(frozen=True)
class Head:
    """Where the parts of a head are, without contrast.

    Attributes:
        anatomy: its surfaces.
        share: how far each part covers those below it (cerebrum, white, capsule, deep, cerebellum, stem, fluid; the
            first two and the last from the bottom up), 0 to 1 in each voxel.
        ragged: noise of deviation 1, which frays the surfaces.
        position: the (broadcastable) coordinates of the voxels in mm, LPS.
    """

    anatomy: Anatomy
    share: dict[str, np.ndarray]
    ragged: np.ndarray
    position: tuple[np.ndarray, np.ndarray, np.ndarray]


def make_brain(rng: np.random.Generator) -> Brain:
    """Return a brain whose size, shape, folding, ventricles and contrast vary.

    Args:
        rng: source of all chance.

    Returns:
        The brain.

    Example:
        >>> 300 < make_brain(np.random.default_rng(0)).millilitres < 600
        True
    """
    size = np.clip(rng.normal(0.97, 0.035), 0.9, 1.06) * rng.uniform(0.97, 1.03, 3)
    head = make_head(rng, size=size)
    texture = smooth_noise(rng, head.ragged.shape, sigma=6 / STEP)
    adc = _contrast(rng, head.anatomy, share=head.share, texture=texture, ragged=head.ragged)
    return Brain(adc=adc, inside=head.anatomy.inside, tissue=tissue_shares(head.share), position=head.position)


def make_head(
    rng: np.random.Generator,
    *,
    size: np.ndarray,
    bend: float = 1.8,
    wide: tuple[float, float] = (0.6, 1.15),
    ribbon: tuple[float, float] = (3.0, 3.8),
    gap: float = 0.3,
) -> Head:
    """Return a head without contrast: where its parts are.

    Args:
        rng: source of all chance.
        size: times as long as the usual neonate's, along each axis.
        bend: standard deviation in mm of what displaces all surfaces smoothly.
        wide: least and most width of the ventricles, 1 for a neonate's widest usual ones.
        ribbon: least and most thickness of the cortex in mm.
        gap: of fluid over the cerebrum, in mm; it opens the sulci.

    Returns:
        The head.
    """
    shape = tuple(int(n) for n in 2 * np.ceil(HALF_WIDTH / STEP) + 1)
    axes = [((np.arange(n) - n // 2) * STEP).astype(np.float32) for n in shape]
    position = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    bends = [np.float32(bend) * smooth_noise(rng, shape, sigma=22 / STEP) for _ in range(3)]
    x, y, z = (p / np.float32(s) + bend for p, s, bend in zip(position, size, bends, strict=True))
    ragged = smooth_noise(rng, shape, sigma=3 / STEP)
    anatomy = make_anatomy(rng, x, y, z, step=STEP, ragged=ragged, wide=wide)
    thickness = np.float32(rng.uniform(*ribbon)) + np.float32(0.4) * ragged
    share = {
        "cerebrum": ramp(anatomy.cerebrum - gap),
        "white": ramp(anatomy.cerebrum - thickness, width=1.6),
        "deep": ramp(anatomy.nuclei),
        "capsule": ramp(anatomy.capsule, width=2.5),
        "stem": ramp(anatomy.stem),
        "cerebellum": ramp(anatomy.cerebellum),
        "fluid": ramp(anatomy.ventricles, width=1.2),
    }
    return Head(anatomy=anatomy, share=share, ragged=ragged, position=position)


def make_anatomy(
    rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    *,
    step: float,
    ragged: np.ndarray,
    wide: tuple[float, float] = (0.6, 1.15),
) -> Anatomy:
    """Return the surfaces of a brain.

    All parts take the coordinates of the voxels (mm from the middle of the head: left, posterior, superior), already
    bent and scaled to the subject.

    Args:
        rng: source of all chance.
        x: towards the left, `(*spatial)`, in mm of a neonate's head.
        y: towards the back.
        z: upwards.
        step: spacing of the grid, in the same mm.
        ragged: noise of deviation 1, which frays the skull-stripped edge.
        wide: least and most width of the ventricles, 1 for a neonate's widest usual ones.

    Returns:
        Their fields.
    """
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
    ventricles[middle] = _ventricles(rng, side[middle], y[middle], z[middle], wide=wide)
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


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one purpose: the same seed and key give the same numbers in every process.

    Args:
        seed: of the cohort.
        *key: numbers that tell the purposes apart.

    Returns:
        A generator.

    Example:
        >>> generator(0, 1).random() == generator(0, 1).random(), generator(0, 1).random() == generator(0, 2).random()
        (True, False)
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], *, sigma: float) -> np.ndarray:
    """Return white noise smoothed by a Gaussian of `sigma` voxels: mean about 0, deviation 0.7 to 1 (float32).

    Wide noise is drawn on a coarser grid and interpolated, which costs a fraction of the time.

    Args:
        rng: source of all chance.
        shape: of the field.
        sigma: standard deviation of the Gaussian, in voxels.

    Returns:
        The field.

    Example:
        >>> field = smooth_noise(generator(0), (20, 24, 16), sigma=3.0)
        >>> field.shape, bool(0.6 < field.std() < 1.1)
        ((20, 24, 16), True)
    """
    step = max(1.0, sigma / 1.5)
    coarse = tuple(int(np.ceil(n / step)) + 4 for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step, truncate=3.0)
    field = (field - field.mean()) / field.std()
    for axis, n in enumerate(shape):
        field = _stretch(field, np.arange(n) / step + 1, axis=axis)
    return field


def ramp(distance: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """Return a partial volume: 0 to 1 while a field goes from -width to width.

    Args:
        distance: the field, in mm.
        width: half of the edge, in mm.

    Returns:
        A share of each voxel.
    """
    return np.clip(0.5 + distance * np.float32(0.5 / width), 0, 1)


def blend(below: np.ndarray | float, above: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    """Return one tissue laid over another.

    Args:
        below: values of the lower one.
        above: values of the upper one.
        share: of the upper one in each voxel, 0 to 1.

    Returns:
        below + (above - below) · share.
    """
    return below + (above - below) * share


def _contrast(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    share: dict[str, np.ndarray],
    texture: np.ndarray,
    ragged: np.ndarray,
) -> np.ndarray:
    """The ADC: tissues laid over each other by their partial volumes, each with its own level and texture."""
    level = 1 + rng.normal(0, 0.02, 7)
    # White matter is brightest in the middle of the hemispheres, far from cortex and nuclei.
    depth = np.clip((anatomy.cerebrum - 6) / 10, -1, 1)
    white = np.float32(WHITE * level[0]) * (1 + np.float32(0.06) * texture + np.float32(0.05) * depth)
    values = {
        "white": white,
        "cortex": CORTEX * level[1] * (1 + np.float32(0.03) * texture),
        "capsule": CAPSULE * level[2],
        "deep": DEEP * level[3] * (1 + np.float32(0.03) * texture),
        "rim": FLUID,
        "cerebellum": CEREBELLUM * level[4] * (1 + np.float32(0.05) * ragged),
        "stem": STEM * level[5],
        "fluid": FLUID * level[6],
    }
    return layered(share, values)


def layered(share: dict[str, np.ndarray], values: Mapping[str, np.ndarray | float]) -> np.ndarray:
    """Return an image of a head: its parts laid over each other by their partial volumes.

    Args:
        share: of a `Head`.
        values: of cortex, white, capsule, deep, rim (the fluid over the cerebrum), cerebellum, stem and fluid (the
            ventricles).

    Returns:
        The image, float32.
    """
    image = blend(values["cortex"], values["white"], share["white"])
    image = blend(image, values["capsule"], share["capsule"])
    image = blend(image, values["deep"], share["deep"])
    image = blend(values["rim"], image, share["cerebrum"])
    image = blend(image, values["cerebellum"], share["cerebellum"])
    image = blend(image, values["stem"], share["stem"])
    return blend(image, values["fluid"], share["fluid"]).astype(np.float32)


def tissue_shares(share: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the share of each voxel that is a tissue where lesions occur.

    Args:
        share: of a `Head`.

    Returns:
        The shares of stem, cerebellum, deep, white and cortex, which sum to at most 1.
    """
    left = 1 - share["fluid"]
    tissue = {}
    for name in ("stem", "cerebellum"):
        tissue[name] = share[name] * left
        left = left - tissue[name]
    left = left * share["cerebrum"]
    # The internal capsule is injured together with the nuclei around it.
    tissue["deep"] = np.maximum(share["deep"], share["capsule"]) * left
    left = left - tissue["deep"]
    tissue["white"] = share["white"] * left
    tissue["cortex"] = left - tissue["white"]
    return tissue


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


def _ventricles(
    rng: np.random.Generator, side: np.ndarray, y: np.ndarray, z: np.ndarray, *, wide: tuple[float, float]
) -> np.ndarray:
    """Lateral ventricles as tubes through a few points on each side, the third and the fourth."""
    width = rng.uniform(*wide)
    fourth = _ellipsoid(side, y, z, centre=(0, 22, -28), radii=(5, 3.5, 7))
    third = _ellipsoid(side, y, z, centre=(0, 3, 2), radii=(1.7, 11, 7))
    field = np.maximum(fourth, third)
    points = [(4, -27, 9, 1.4), (6, -14, 12, 2.2), (10, 6, 17, 1.9), (18, 23, 8, 3.2), (16, 36, 3, 1.4)]
    for start, end in zip(points[:-1], points[1:], strict=True):
        field = np.maximum(field, _tube(side, y, z, start=start, end=end, wide=width))
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


def _stretch(field: np.ndarray, places: np.ndarray, *, axis: int) -> np.ndarray:
    """Interpolate linearly along one axis, at places given as indices into it."""
    below = places.astype(int)
    share = (places - below).astype(np.float32).reshape(-1, *[1] * (field.ndim - 1 - axis))
    low, high = field.take(below, axis=axis), field.take(below + 1, axis=axis)
    high -= low
    high *= share
    high += low
    return high
