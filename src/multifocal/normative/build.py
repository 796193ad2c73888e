"""A normative atlas: from normal scans, or recovered from cases whose ADC and Z-ADC are both known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from scipy import ndimage

from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.normative.atlas import Atlas, filled
from multifocal.normative.zadc import LIMIT, Smoothed, ZSettings, placed, smoothed
from multifocal.volumes import Geometry, Volume, orient, restore
from multifocal.volumes.registration import Registration, RegistrationSettings, by_moments, moments, register
from multifocal.volumes.template import mean_brain, template_grid

CLIPPED = LIMIT - 0.1  # what lies beyond is taken for clipped, and says nothing of σ
_CASES = 3  # fewer give no deviation
_SEEN = 2.0  # voxels of all cases together that a voxel of the atlas needs
_NEAR = 0.1  # of the template's brain, smoothed by a voxel: how far beyond it the atlas reaches
_ABOUT = 1300.0  # ADC of a normal brain, subtracted so that sums of squares keep their digits
_LEAST_SD = 30.0  # in 1e-6 mm²/s, as is
_MOST_SD = 800.0
_TIMES = 4  # that a regression weighs its voxels anew
_TUKEY = 3.0  # robust standard deviations at which a voxel weighs half
Progress = Callable[[str], None]


class AtlasSettings(Config):
    """How an atlas is made.

    Args:
        spacing: of its voxels, in mm.
        rounds: how often all scans are registered to their mean and it is made anew; the first time by affine maps.
        refinements: of an atlas from pairs: how often `ADC - σ Z`, which looks like μ, is registered to it.
        smooth_mm: standard deviation of the Gaussian over a voxel's sums, by which neighbours help each other.
        ridge: samples that a voxel's own sums are joined by, of the variances of the whole brain.
        template: how scans are registered while the space is made.
        scan: how a scan will find the atlas, and how it is smoothed; μ and σ are fitted for scans that are placed so.

    Example:
        >>> AtlasSettings().spacing
        2.0
    """

    spacing: Annotated[float, Field(gt=0)] = 2.0
    rounds: Annotated[int, Field(ge=1)] = 2
    refinements: Annotated[int, Field(ge=1)] = 1
    smooth_mm: Annotated[float, Field(ge=0)] = 0.6
    ridge: Annotated[float, Field(ge=0)] = 0.3
    template: RegistrationSettings = RegistrationSettings(demons_iterations=20)
    scan: ZSettings = ZSettings()


def from_pairs(
    pairs: Sequence[tuple[str, Volume, Volume]],
    settings: AtlasSettings | None = None,
    progress: Progress | None = None,
) -> tuple[Atlas, dict[str, Any]]:
    """Return the atlas that cases with ADC and Z-ADC were made with, as near as scans can find it.

    At each place of the atlas `ADC = μ + σ Z` is a line with as many points as cases. (1) The mean of all scans gives a
    space. (2) `ADC - σ Z` of a case is μ as the unknown registration bent it, without lesions or anatomy of its own: it
    is registered to the mean, the lines are fitted (ADC on Z, robust, clipped values left out), and so on. (3) Every
    scan is placed in μ by its ADC alone, as a new one will be, and the lines are fitted once more, by the reduced major
    axis `σ = sd(ADC) / sd(Z)`, `μ = mean(ADC) - σ mean(Z)`: what registrations do not agree on makes noise of both,
    which would flatten a regression of either on the other. ADC is smoothed as it will be.

    Args:
        pairs: name, ADC in 1e-6 mm²/s (0 outside the brain) and Z-ADC of each case, on one grid.
        settings: how; None for the usual way.
        progress: called with a line before each stage.

    Returns:
        The atlas, and what it is made of.

    Raises:
        UserError: there are fewer than 3 cases, a map is in another unit or on another grid, or no brain is found.

    Example:
        >>> from_pairs([])
        Traceback (most recent call last):
        multifocal.errors.UserError: an atlas needs 3 cases or more, found 0
    """
    how, tell = settings or AtlasSettings(), progress or (lambda _: None)
    _check_number(pairs)
    scans = [smoothed(adc, how.scan, where=f"case {name}") for name, adc, _ in pairs]
    scores = [_score(name, adc, z, scan) for (name, adc, z), scan in zip(pairs, scans, strict=True)]
    lesions = [scan.coarse(z, how.spacing).array < -2 for scan, z in zip(scans, scores, strict=True)]
    names = [name for name, _, _ in pairs]
    mean, maps = _common_space(names, scans, lesions, how, tell)
    where = _places(scans, maps, mean.geometry)
    samples = [
        _Samples(at, scan.adc[scan.brain], z[scan.brain]) for at, scan, z in zip(where, scans, scores, strict=True)
    ]
    usable = [np.abs(sample.z) < CLIPPED for sample in samples]
    first = _sums(samples, usable, mean.geometry.size)
    sd = np.full(mean.geometry.size, first.pooled_sd)
    near = ndimage.gaussian_filter((mean.array != 0).astype(np.float32), 1.0) > _NEAR
    for number in range(how.refinements):
        tell(f"refinement {number + 1} of {how.refinements}")
        for k, (scan, z) in enumerate(zip(scans, scores, strict=True)):
            spread = np.zeros(scan.brain.shape, np.float32)
            spread[scan.brain] = _at(sd, samples[k].places)
            fixed = scan.coarse(scan.adc - spread * z, how.spacing)
            clipped = scan.coarse(np.abs(z), how.spacing).array > CLIPPED
            maps[k] = _registered(fixed, mean, how.template, clipped, maps[k].affine, names[k])
        where = _places(scans, maps, mean.geometry)
        samples = [_Samples(at, s.adc, s.z) for at, s in zip(where, samples, strict=True)]
        values, sd, seen = _lines(samples, usable, mean.geometry.size, how)
        mean = Volume(np.where(seen & near, values, 0).astype(np.float32), mean.geometry)
    tell("placing every scan as a new one")
    maps = [placed(scan, mean, how.scan, where=f"case {name}") for name, scan in zip(names, scans, strict=True)]
    where = _places(scans, maps, mean.geometry)
    samples = [_Samples(at, s.adc, s.z) for at, s in zip(where, samples, strict=True)]
    sums = _sums(samples, [np.ones(len(s.z)) for s in samples], mean.geometry.size).blurred(how)
    sd = np.clip(np.sqrt(sums.var_adc(how.ridge) / sums.var_z(how.ridge)), _LEAST_SD, _MOST_SD)
    values = sums.mean_adc - sd * sums.mean_z
    atlas = _atlas(values, sd, sums.seen & (mean.array != 0), mean.geometry)
    return atlas, _about("pairs of ADC and Z-ADC", names, how, atlas)


def from_normals(
    scans: Sequence[tuple[str, Volume]], settings: AtlasSettings | None = None, progress: Progress | None = None
) -> tuple[Atlas, dict[str, Any]]:
    """Return mean and standard deviation of normal scans in their own, unbiased space.

    The space is that of the mean of all scans, made anew in `rounds`; then every scan is placed in it as a new one will
    be. σ² is the variance of the scans' values at a place, smoothed.

    Args:
        scans: name and ADC (in 1e-6 mm²/s, 0 outside the brain) of each; none with a lesion.
        settings: how; None for the usual way.
        progress: called with a line before each stage.

    Returns:
        The atlas, and what it is made of.

    Raises:
        UserError: there are fewer than 3 scans, one is in another unit, or no brain is found.

    Example:
        >>> from_normals([])
        Traceback (most recent call last):
        multifocal.errors.UserError: an atlas needs 3 cases or more, found 0
    """
    how, tell = settings or AtlasSettings(), progress or (lambda _: None)
    _check_number(scans)
    names = [name for name, _ in scans]
    ready = [smoothed(adc, how.scan, where=f"case {name}") for name, adc in scans]
    none = [np.zeros(scan.coarse(scan.adc, how.spacing).array.shape, bool) for scan in ready]
    mean, _ = _common_space(names, ready, none, how, tell)
    tell("placing every scan as a new one")
    maps = [placed(scan, mean, how.scan, where=f"case {name}") for name, scan in zip(names, ready, strict=True)]
    samples = [
        _Samples(at, scan.adc[scan.brain], np.zeros(np.count_nonzero(scan.brain)))
        for at, scan in zip(_places(ready, maps, mean.geometry), ready, strict=True)
    ]
    sums = _sums(samples, [np.ones(len(s.z)) for s in samples], mean.geometry.size)
    apart = np.maximum(sums.adc_adc - sums.adc**2 / np.maximum(sums.number, 1e-6), 0)  # about each voxel's own mean
    width = max(how.smooth_mm, how.spacing) / how.spacing
    number = ndimage.gaussian_filter(sums.number, width)
    variance = ndimage.gaussian_filter(apart, width) / np.maximum(number, 1e-6)
    sd = np.clip(np.sqrt(variance * len(scans) / (len(scans) - 1)), _LEAST_SD, _MOST_SD)
    atlas = _atlas(sums.blurred(how).mean_adc, sd, sums.seen & (mean.array != 0), mean.geometry)
    return atlas, _about("normal scans", names, how, atlas)


@dataclass(frozen=True, eq=False)
class _Samples:
    """The brain's voxels of a case: where they lie in the atlas, in its voxels `(3, n)`, their ADC and Z-ADC."""

    places: np.ndarray
    adc: np.ndarray
    z: np.ndarray


@dataclass(frozen=True, eq=False)
class _Sums:
    """What all cases add up to at each voxel of the atlas; ADC is less `_ABOUT`."""

    number: np.ndarray
    adc: np.ndarray
    z: np.ndarray
    adc_z: np.ndarray
    z_z: np.ndarray
    adc_adc: np.ndarray

    def blurred(self, how: AtlasSettings) -> "_Sums":
        return _Sums(*(ndimage.gaussian_filter(each, how.smooth_mm / how.spacing) for each in vars(self).values()))

    @property
    def seen(self) -> np.ndarray:
        return np.asarray(self.number > _SEEN)

    @property
    def mean_adc(self) -> np.ndarray:
        return np.asarray(self.adc / np.maximum(self.number, 1e-6) + _ABOUT)

    @property
    def mean_z(self) -> np.ndarray:
        return np.asarray(self.z / np.maximum(self.number, 1e-6))

    def covariance(self, ridge: float) -> np.ndarray:
        return self._ridged(self.adc_z, self.adc, self.z, ridge)

    def var_adc(self, ridge: float) -> np.ndarray:
        return self._ridged(self.adc_adc, self.adc, self.adc, ridge)

    def var_z(self, ridge: float) -> np.ndarray:
        return self._ridged(self.z_z, self.z, self.z, ridge)

    @property
    def pooled_sd(self) -> float:
        """Return the slope of ADC on Z-ADC within voxels, all voxels together."""
        inside = self.seen
        own, spread = (
            (products - one * other / np.maximum(self.number, 1e-6))[inside].sum()
            for products, one, other in ((self.adc_z, self.adc, self.z), (self.z_z, self.z, self.z))
        )
        return float(np.clip(own / max(spread, 1e-6), _LEAST_SD, _MOST_SD))

    def _ridged(self, products: np.ndarray, one: np.ndarray, other: np.ndarray, ridge: float) -> np.ndarray:
        own = products - one * other / np.maximum(self.number, 1e-6)
        return np.asarray(own + ridge * own[self.seen].sum() / self.number[self.seen].sum())


def _lines(
    samples: Sequence[_Samples], usable: Sequence[np.ndarray], size: tuple[int, ...], how: AtlasSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return μ and σ of robust regressions of ADC on Z-ADC, and where there are any."""
    weights = [each.astype(float) for each in usable]
    for _ in range(_TIMES):
        sums = _sums(samples, weights, size)
        sd = np.clip(sums.covariance(how.ridge) / sums.var_z(how.ridge), _LEAST_SD, _MOST_SD)
        mean = filled(sums.mean_adc - sd * sums.mean_z, sums.seen)
        sd = filled(sd, sums.seen)
        apart = [s.adc - _at(mean, s.places) - _at(sd, s.places) * s.z for s in samples]
        together = np.concatenate([each[good] for each, good in zip(apart, usable, strict=True)])
        scale = _TUKEY * 1.4826 * max(float(np.median(np.abs(together))), 1e-3)
        weights = [good / (1 + (each / scale) ** 2) for each, good in zip(apart, usable, strict=True)]
    return mean, sd, ndimage.binary_closing(sums.seen)


def _sums(samples: Sequence[_Samples], weights: Sequence[np.ndarray], size: tuple[int, ...]) -> _Sums:
    """Return the sums of all cases, each voxel shared out among the eight of the atlas around it."""
    totals = [np.zeros(int(np.prod(size))) for _ in range(6)]
    for sample, weight in zip(samples, weights, strict=True):
        adc, z = sample.adc - _ABOUT, sample.z
        values = [weight * each for each in (np.ones(len(z)), adc, z, adc * z, z * z, adc * adc)]
        base = np.floor(sample.places).astype(int)
        part = sample.places - base
        for corner in np.ndindex(2, 2, 2):
            step = np.array(corner)[:, None]
            place, share = base + step, np.prod(np.where(step == 1, part, 1 - part), axis=0)
            held = ((place >= 0) & (place < np.array(size)[:, None])).all(axis=0)
            flat = np.ravel_multi_index(tuple(place[:, held]), size)
            for total, value in zip(totals, values, strict=True):
                total += np.bincount(flat, (share * value)[held], len(total))
    return _Sums(*(total.reshape(size) for total in totals))


def _common_space(
    names: Sequence[str],
    scans: Sequence[Smoothed],
    lesions: Sequence[np.ndarray],
    how: AtlasSettings,
    tell: Progress,
) -> tuple[Volume, list[Registration]]:
    """Return the mean of the scans in a space of their own, and the affine map of each scan into it."""
    parts = [(scan.coarse(scan.adc, how.spacing), lesion) for scan, lesion in zip(scans, lesions, strict=True)]
    spread = np.mean([moments(brain)[1] for brain, _ in parts], axis=0)
    grid = template_grid(spread, how.spacing)
    still = np.zeros((*grid.size, 3), np.float32)
    found = [Registration(by_moments(brain, np.zeros(3), spread), still, grid) for brain, _ in parts]
    mean = Volume(mean_brain(parts, found, grid), grid)
    for number in range(how.rounds):
        tell(f"template, round {number + 1} of {how.rounds}")
        left_out = {"affine_iterations": 0} if number else {"demons_iterations": 0}
        settings = how.template.model_copy(update=left_out)
        found = [
            _registered(mean, brain, settings, None, before.affine, name, moving_lesion=lesion)
            for name, (brain, lesion), before in zip(names, parts, found, strict=True)
        ]
        mean = Volume(mean_brain(parts, found, grid), grid)
    back = [np.linalg.inv(np.vstack([each.affine, [0, 0, 0, 1]]))[:3] for each in found]
    here = [np.zeros((*brain.geometry.size, 3), np.float32) for brain, _ in parts]
    return mean, [
        Registration(affine, none, brain.geometry) for affine, none, (brain, _) in zip(back, here, parts, strict=True)
    ]


def _registered(
    fixed: Volume,
    moving: Volume,
    settings: RegistrationSettings,
    lesion: np.ndarray | None,
    start: np.ndarray,
    name: str,
    *,
    moving_lesion: np.ndarray | None = None,
) -> Registration:
    try:
        return register(fixed, moving, settings, fixed_lesion=lesion, moving_lesion=moving_lesion, start=start)
    except ValueError as error:  # UserError is one, too
        raise UserError(f"case {name}: {error}; look at the map of its brain") from error


def _places(scans: Sequence[Smoothed], maps: Sequence[Registration], grid: Geometry) -> list[np.ndarray]:
    return [grid.indices(found.points(scan.geometry)[scan.brain]).T for scan, found in zip(scans, maps, strict=True)]


def _at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.map_coordinates(image, places, order=1, mode="nearest"))


def _score(name: str, adc: Volume, z: Volume, scan: Smoothed) -> np.ndarray:
    if different := z.geometry.differences(adc.geometry):
        raise UserError(f"case {name}: Z-ADC lies on another grid than ADC: {'; '.join(different)}")
    turned = orient(Volume(z.array.astype(np.float32), z.geometry))
    cut = restore(turned, scan.geometry, interpolation="nearest").array
    if not np.isfinite(cut).all() or cut[scan.brain].std() == 0:
        raise UserError(f"case {name}: Z-ADC is constant in the brain, NaN or infinite; replace it")
    return cut


def _check_number(cases: Sequence[Any]) -> None:
    if len(cases) < _CASES:
        raise UserError(f"an atlas needs {_CASES} cases or more, found {len(cases)}")


def _atlas(mean: np.ndarray, sd: np.ndarray, brain: np.ndarray, grid: Geometry) -> Atlas:
    kept = np.where(brain, np.maximum(mean, 1.0), 0).astype(np.float32)  # 0 is the outside
    return Atlas(Volume(kept, grid), Volume(np.where(brain, sd, 0).astype(np.float32), grid))


def _about(source: str, names: Sequence[str], how: AtlasSettings, atlas: Atlas) -> dict[str, Any]:
    inside = atlas.brain
    return {
        "made_from": source,
        "cases": list(names),
        "settings": how.model_dump(mode="json"),
        "unit": "1e-6 mm²/s",
        "brain_voxels": int(np.count_nonzero(inside)),
        "mean_median": round(float(np.median(atlas.mean.array[inside])), 1),
        "sd_median": round(float(np.median(atlas.sd.array[inside])), 1),
    }
