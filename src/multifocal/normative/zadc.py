"""Z-ADC of a scan: how far its ADC lies from that of normal brains at the same place."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import ndimage

from multifocal.cohorts.check import image_complaints
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.normative.atlas import Atlas, filled
from multifocal.normative.fit import AtlasFit, measure_fit
from multifocal.volumes import Geometry, Volume, bounding_box, crop, orient, resample, respaced, restore
from multifocal.volumes.registration import Registration, RegistrationSettings, register

LIMIT = 10.0  # where Z-ADC is clipped
_MARGIN = 2  # voxels around the brain, so that its edge is seen
_FWHM = 2.3548  # of a Gaussian, in standard deviations


class ZSettings(Config):
    """How a scan finds its atlas, and how it is smoothed.

    Args:
        smooth_mm: full width at half maximum of the Gaussian over ADC within the brain; 0 leaves it as it is.
        lesion_below: voxels whose ADC lies below, in 1e-6 mm²/s, are left out of the force of the registration.
        registration: how long it takes, and how smooth it is.

    Example:
        >>> ZSettings().smooth_mm
        2.0
    """

    smooth_mm: Annotated[float, Field(ge=0)] = 2.0
    lesion_below: float = 800.0
    registration: RegistrationSettings = RegistrationSettings(demons_iterations=15, smooth=2.5)


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A scan ready for an atlas.

    Args:
        adc: smoothed, 0 outside the brain, float32 `(X, Y, Z)`, on its own grid cut to the brain.
        brain: bool `(X, Y, Z)`.
        geometry: of both.
    """

    adc: np.ndarray
    brain: np.ndarray
    geometry: Geometry

    def coarse(self, values: np.ndarray, spacing: float) -> Volume:
        """Return values of the brain at another spacing, the outside kept out of them.

        Args:
            values: `(X, Y, Z)`.
            spacing: in mm.

        Returns:
            float32, 0 where less than half a voxel is brain.
        """
        onto = respaced(self.geometry, (spacing,) * 3)
        inside, total = (
            resample(Volume(each.astype(np.float32), self.geometry), onto, interpolation="linear").array
            for each in (self.brain, np.where(self.brain, values, 0))
        )
        return Volume(np.where(inside >= 0.5, total / np.maximum(inside, 0.5), 0).astype(np.float32), onto)


def smoothed(adc: Volume, settings: ZSettings, *, where: str) -> Smoothed:
    """Return a scan as it is compared with an atlas: cut to the brain, smoothed within it.

    `S = (G * (m · ADC)) / (G * m)`, m the brain, G the Gaussian (normalised convolution).

    Args:
        adc: in 1e-6 mm²/s, 0 outside the brain.
        settings: how.
        where: what errors name.

    Returns:
        The scan.

    Raises:
        UserError: it is no volume, has no brain, holds NaN, or is in another unit.

    Source:
        Knutsson and Westin 1993, Normalized and differential convolution.
    """
    if adc.geometry.ndim != 3:
        raise UserError(f"{where}: is an image of {adc.geometry.ndim} dimensions; Z-ADC is of volumes")
    for severity, text in image_complaints("adc", adc.array):
        if severity == "error":
            raise UserError(f"{where}: {text}")
    turned = orient(Volume(adc.array.astype(np.float32), adc.geometry))
    lower, upper = bounding_box(turned.array) or ((), ())
    box = crop(
        turned,
        lower=[max(0, low - _MARGIN) for low in lower],
        upper=[min(size, high + _MARGIN) for high, size in zip(upper, turned.geometry.size, strict=True)],
    )
    brain = box.array != 0
    deviation = settings.smooth_mm / _FWHM / np.array(box.geometry.spacing)
    weight = ndimage.gaussian_filter(brain.astype(np.float32), deviation, mode="constant")
    total = ndimage.gaussian_filter(box.array, deviation, mode="constant")
    values = np.where(brain, total / np.maximum(weight, 1e-3), 0).astype(np.float32)
    return Smoothed(values, brain, box.geometry)


def placed(scan: Smoothed, atlas: Volume, settings: ZSettings, *, where: str) -> Registration:
    """Return where the points of a scan lie in an atlas, lesions left out of the force.

    Args:
        scan: the scan.
        atlas: mean ADC, 0 outside the brain.
        settings: how.
        where: what errors name.

    Returns:
        The map.

    Raises:
        UserError: the two cannot be registered.
    """
    fixed = scan.coarse(scan.adc, float(np.mean(atlas.geometry.spacing)))
    low = (fixed.array != 0) & (fixed.array < settings.lesion_below)
    try:
        return register(fixed, atlas, settings.registration, fixed_lesion=low)
    except ValueError as error:  # UserError is one, too
        raise UserError(f"{where}: {error}; look at the map of its brain, and at the atlas") from error


def z_map(
    adc: Volume, atlas: Atlas, settings: ZSettings | None = None, *, where: str = "the scan"
) -> tuple[Volume, AtlasFit]:
    """Return Z-ADC, `(S(x) - μ(T(x))) / max(σ(T(x)), floor)` within ±10 in the brain, 0 outside, and the atlas's fit.

    S is ADC smoothed within the brain, T the map into the atlas (affine, then demons with lesions left out), μ and σ
    the atlas's, continued beyond its brain by their nearest values, the floor the 5th percentile of σ.

    Args:
        adc: in 1e-6 mm²/s, 0 outside the brain, `(X, Y, Z)`.
        atlas: mean and standard deviation.
        settings: how it is registered and smoothed; None for the usual way.
        where: what errors name, such as the file.

    Returns:
        Z-ADC, float32 on the scan's own grid; how well the scan fits the atlas, whose `doubts` say what is odd.

    Raises:
        UserError: the scan is no volume, has no brain, holds NaN, is in another unit, or cannot be registered.

    Source:
        Bao et al., Scientific Data 12:53 (2025); the registration and the floor are ours.

    Example:
        >>> import multifocal as mf
        >>> atlas = mf.normative.Atlas.load("atlas/mean.nii.gz", "atlas/sd.nii.gz")  # doctest: +SKIP
        >>> zadc, fit = mf.normative.z_map(mf.read("adc.nii.gz"), atlas)  # doctest: +SKIP
        >>> mf.write("zadc.nii.gz", zadc)  # doctest: +SKIP
    """
    chosen = settings or ZSettings()
    scan = smoothed(adc, chosen, where=where)
    found = placed(scan, atlas.mean, chosen, where=where)
    at = atlas.mean.geometry.indices(found.points(scan.geometry)[scan.brain]).T
    mean, sd = (
        ndimage.map_coordinates(filled(each.array, atlas.brain), at, order=1, mode="nearest")
        for each in (atlas.mean, atlas.sd)
    )
    z = np.zeros(scan.brain.shape, np.float32)
    z[scan.brain] = np.clip((scan.adc[scan.brain] - mean) / np.maximum(sd, atlas.floor), -LIMIT, LIMIT)
    fixed = scan.coarse(scan.adc, float(np.mean(atlas.mean.geometry.spacing)))
    fit = measure_fit(fixed, atlas, found, z[scan.brain], lesion_below=chosen.lesion_below)
    return restore(Volume(z, scan.geometry), adc.geometry, interpolation="nearest"), fit
