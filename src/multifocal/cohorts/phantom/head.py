"""A synthetic head around a skull-stripped ADC map, to try out what finds brains."""

import numpy as np
from scipy import ndimage

from multifocal.volumes import Volume, axis_codes, orient

FLUID, SKIN, EYE, FAT = 2500.0, 1250.0, 2900.0, 1000.0  # ADC in 1e-6 mm²/s
_EYES = 22.0  # mm off the middle


def with_head(
    adc: Volume, rng: np.random.Generator, *, skull_mm: float = 2.0, fluid_mm: float = 1.5, noise: float = 900.0
) -> Volume:
    """Return a scan as it is before skull stripping: fluid, skull with fontanelles, scalp, eyes and neck around it.

    Thicknesses vary from place to place. Skull and air have no signal, so that their ADC is noise.

    Args:
        adc: in 1e-6 mm²/s, 3D, 0 outside the brain; the brain's voxels stay as they are.
        rng: where all that is random is drawn from.
        skull_mm: thickness of the skull in mm.
        fluid_mm: that of the fluid between it and the brain.
        noise: standard deviation of what is drawn in the air, whose amount is taken; half of it in the skull. 0 leaves
            both at 0, as scanners do that set what has no signal to 0.

    Returns:
        float32, on the same grid.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((40, 40, 40), (3.0,) * 3, (0.0,) * 3, (1, 0, 0, 0, 1, 0, 0, 0, 1))
        >>> away = np.linalg.norm((np.indices(grid.size).T - 20).T * 3.0, axis=0)
        >>> head = with_head(Volume(np.where(away < 40, 1200.0, 0.0), grid), np.random.default_rng(0), noise=0.0)
        >>> bool((head.array[away < 40] == 1200).all()), round(float((head.array[away >= 40] != 0).mean()), 1)
        (True, 0.2)
    """
    scan = orient(adc)
    size, spacing = scan.geometry.size, np.array(scan.geometry.spacing)
    brain = scan.array != 0

    def smooth(mm: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.normal(size=size), mm / spacing)
        return np.asarray(field / field.std())

    def thickness(mm: float) -> np.ndarray:
        return np.maximum(mm * (1 + 0.25 * smooth(15.0)), mm / 3)

    def texture(mean: float) -> np.ndarray:
        return mean + 0.1 * mean * smooth(3.0) + 0.1 * mean * rng.normal(size=size)

    away = ndimage.distance_transform_edt(~brain, sampling=spacing)
    fluid, scalp = thickness(fluid_mm), thickness(5.0)
    skull = np.where(smooth(12.0) > 1.8, 0.0, thickness(skull_mm))  # none at a fontanelle
    head = np.abs(rng.normal(0.0, noise, size)) if noise else np.zeros(size)
    head = np.where(away <= fluid + skull + scalp, texture(SKIN), head)
    head = np.where(away <= fluid + skull, np.abs(rng.normal(0.0, noise / 2, size)) if noise else 0.0, head)
    head = np.where(away <= fluid, FLUID + 250 * smooth(3.0), head)
    x, y, z = (index * step for index, step in zip(np.indices(size), spacing, strict=True))
    within = np.argwhere(brain) * spacing
    low, high = within.min(axis=0), within.max(axis=0)
    middle, height = (low + high) / 2, high[2] - low[2]
    bare = away > fluid + skull
    is_neck = ((x - middle[0]) / 40) ** 2 + ((y - middle[1] - 15) / 45) ** 2 < 1
    head = np.where(is_neck & bare & (z < low[2] + 0.2 * height), texture(SKIN), head)
    for side in (-_EYES, _EYES):
        centre = (middle[0] + side, low[1] + 2, low[2] + 0.3 * height)
        from_eye = np.linalg.norm(np.stack((x, y, z), axis=-1) - centre, axis=-1)
        head = np.where(from_eye < 11, texture(FAT), head)
        head = np.where(from_eye < 8, texture(EYE), head)
    array = np.where(brain, scan.array, np.clip(head, 0.0, 4000.0)).astype(np.float32)
    back = orient(Volume(array, scan.geometry), axes=axis_codes(adc.geometry))
    return Volume(back.array, adc.geometry)
