"""The healthy brain of a synthetic neonate, on a fine grid in the axes of the head.

Apparent diffusion coefficients (1e-6 mm²/s) are those of term neonates: high in unmyelinated white matter, low in the
deep grey nuclei and the brainstem, that of water in the cerebrospinal fluid.
"""

from dataclasses import dataclass

import numpy as np

from multifocal.cohorts.phantom.anatomy import Anatomy, make_anatomy
from multifocal.cohorts.phantom.noise import smooth_noise

STEP = 1.6
"""Spacing of the fine grid in mm."""

HALF_WIDTH = np.array([58.0, 70.0, 60.0])
"""The fine grid reaches this far (mm) from the middle of the head: left, posterior, superior."""

FLUID, CORTEX, WHITE, DEEP, CAPSULE, STEM, CEREBELLUM = 2850.0, 1140.0, 1600.0, 1070.0, 1200.0, 990.0, 1080.0


@dataclass(frozen=True)
class Brain:
    """A healthy brain: fields of one shape on the grid of `STEP` mm whose middle is the middle of the head.

    `adc` in 1e-6 mm²/s, fluid outside the brain too; `inside` in mm, positive in the brain; `tissue` maps a tissue's
    name to its share of each voxel; `position` holds the (broadcastable) coordinates of the voxels in mm, LPS.
    """

    adc: np.ndarray
    inside: np.ndarray
    tissue: dict[str, np.ndarray]
    position: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def millilitres(self) -> float:
        """Volume of the brain."""
        return float(np.count_nonzero(self.inside > 0)) * STEP**3 / 1000


def make_brain(rng: np.random.Generator) -> Brain:
    """Return a brain whose size, shape, folding, ventricles and contrast vary with `rng`.

    Example:
        >>> 300 < make_brain(np.random.default_rng(0)).millilitres < 600
        True
    """
    shape = tuple(int(n) for n in 2 * np.ceil(HALF_WIDTH / STEP) + 1)
    axes = [((np.arange(n) - n // 2) * STEP).astype(np.float32) for n in shape]
    position = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
    size = np.clip(rng.normal(0.97, 0.035), 0.9, 1.06) * rng.uniform(0.97, 1.03, 3)
    bends = [np.float32(1.8) * smooth_noise(rng, shape, sigma=22 / STEP) for _ in range(3)]
    x, y, z = (p / np.float32(s) + bend for p, s, bend in zip(position, size, bends, strict=True))
    ragged = smooth_noise(rng, shape, sigma=3 / STEP)
    anatomy = make_anatomy(rng, x, y, z, step=STEP, ragged=ragged)
    ribbon = np.float32(rng.uniform(3.0, 3.8)) + np.float32(0.4) * ragged
    share = {
        "cerebrum": _ramp(anatomy.cerebrum - 0.3),
        "white": _ramp(anatomy.cerebrum - ribbon, width=1.6),
        "deep": _ramp(anatomy.nuclei),
        "capsule": _ramp(anatomy.capsule, width=2.5),
        "stem": _ramp(anatomy.stem),
        "cerebellum": _ramp(anatomy.cerebellum),
        "fluid": _ramp(anatomy.ventricles, width=1.2),
    }
    texture = smooth_noise(rng, shape, sigma=6 / STEP)
    adc = _contrast(rng, anatomy, share=share, texture=texture, ragged=ragged)
    return Brain(adc=adc, inside=anatomy.inside, tissue=_tissue(share), position=position)


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
    adc = _blend(CORTEX * level[1] * (1 + np.float32(0.03) * texture), white, share["white"])
    adc = _blend(adc, CAPSULE * level[2], share["capsule"])
    adc = _blend(adc, DEEP * level[3] * (1 + np.float32(0.03) * texture), share["deep"])
    adc = _blend(FLUID, adc, share["cerebrum"])
    adc = _blend(adc, CEREBELLUM * level[4] * (1 + np.float32(0.05) * ragged), share["cerebellum"])
    adc = _blend(adc, STEM * level[5], share["stem"])
    return _blend(adc, FLUID * level[6], share["fluid"]).astype(np.float32)


def _tissue(share: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The share of each voxel that is a tissue where lesions occur; they sum to at most 1."""
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


def _ramp(distance: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """Partial volume: 0 to 1 while the field goes from -width to width mm."""
    return np.clip(0.5 + distance * np.float32(0.5 / width), 0, 1)


def _blend(below: np.ndarray | float, above: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    return below + (above - below) * share
