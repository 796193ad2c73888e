"""What a second stage judges, and by what: voxels with what is around them, or components described by numbers."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy import ndimage

from multifocal.cohorts.labels import IGNORED
from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.instances import components
from multifocal.limits import at_least
from multifocal.systems.scales import at_scales, features_at_scales
from multifocal.systems.scan import Scan

LESION, OTHER, UNKNOWN = 1, 0, -1  # answers
RING_MM = 4.0  # how far what is around a component reaches
Map = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Places(Config):
    """Where to look: a map below a value, or the first stage's probability.

    Args:
        maps: whose values are looked at, besides the probability.
        map: the one that is low in lesions; null leaves candidates to the probability.
    """

    maps: tuple[Map, ...] = Field(min_length=1)
    map: Map | None = None

    @model_validator(mode="after")
    def _check(self) -> "_Places":
        if self.map is not None and self.map not in self.maps:
            raise ValueError(f"map: {self.map} is none of maps ({', '.join(self.maps)}); add it there")
        if len(set(self.maps)) < len(self.maps):
            raise ValueError(f"maps: {', '.join(self.maps)} names one twice; leave one out")
        return self


class Voxels(_Places):
    """Voxels, each judged by the maps and the probability around it.

    That is every voxel of a small window, or what is around it at several scales: of each map and of the probability
    the means within Gaussians of 2, 4, 8 and 16 mm and the spread within 4 mm, in the brain alone; the value and the
    4 mm mean at the mirrored place; the brain's own mean and spread; then where in the brain the voxel is, how deep,
    how far from the midline; and of the map that is low in lesions the volume of the component that holds the voxel,
    and the share of the brain, below each of `levels`.

    A candidate is a voxel of the brain with `p > above`, or where `map` is below `below`. A forest is fitted on all
    that are lesion, and on `others` times as many that are not, drawn from all cases; where that is more than `most`,
    on so many of them. The image continues beyond its border as in a mirror.

    Args:
        kind: "voxels".
        maps: see above; in their own units.
        map: see above.
        window: "5x5" of the axial slice, "3x3x3", or "scales".
        levels: see above; of "scales" alone.
        above: the probability.
        below: the value.
        others: how many for each that is lesion; null takes all.
        most: voxels that a forest is fitted on, which time and memory go by; null sets no limit.

    Source:
        Toubal et al., the first of BONBID-HIE 2023 (5x5 of Z-ADC, ADC and probability).

    Example:
        >>> Voxels(kind="voxels", maps=("zadc", "adc"), map="zadc", below=-1.0).features(3)[:2]
        ('zadc (-2, -2, 0)', 'zadc (-2, -1, 0)')
        >>> Voxels(kind="voxels", maps=("zadc",), window="scales").features(3)[:3]
        ('zadc', 'zadc 2 mm', 'zadc 4 mm')
    """

    kind: Literal["voxels"]
    window: Literal["5x5", "3x3x3", "scales"] = "5x5"
    levels: tuple[float, ...] = ()
    above: Share = 0.02
    below: float | None = None
    others: Annotated[float, Field(gt=0)] | None = 3.0
    most: Annotated[int, Field(ge=1)] | None = 100_000

    @model_validator(mode="after")
    def _check_below(self) -> "Voxels":
        if (self.map is None) != (self.below is None):
            raise ValueError("map and below belong together: give both, or leave both out")
        if self.levels and (self.map is None or self.window != "scales"):
            raise ValueError("levels are those of map, around voxels at several scales: give map, and window: scales")
        return self

    def features(self, dimensions: int) -> tuple[str, ...]:
        """Return what a voxel is judged by: each map, then the probability, at each place of the window or each scale.

        Args:
            dimensions: 2 or 3.

        Returns:
            Names.
        """
        if self.window == "scales":
            return features_at_scales((*self.maps, "probability"), self.map, self.levels, dimensions)
        places = [str(tuple(map(int, place))) for place in self._window(dimensions)]
        return tuple(f"{name} {place}" for name in (*self.maps, "probability") for place in places)

    def find(self, scan: Scan) -> np.ndarray:
        """Return the candidates of a case.

        Args:
            scan: the case.

        Returns:
            Flat indices of voxels, in order.
        """
        wanted = scan.probability > self.above
        if self.map is not None:
            wanted = wanted | (scan.maps[self.map] < self.below)
        return np.flatnonzero(wanted & scan.inside)

    def answers(self, found: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Return which candidates are lesion.

        Args:
            found: what `find` returned.
            target: codes `(*spatial)`.

        Returns:
            int8, one a candidate: LESION, OTHER, or UNKNOWN where it is ignored.
        """
        codes = target.ravel()[found]
        return np.where(codes == IGNORED, UNKNOWN, codes > 0).astype(np.int8)

    def drawn(self, answers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which of the candidates of all cases a forest is fitted on.

        Args:
            answers: theirs, one case after the other.
            rng: what they are drawn by.

        Returns:
            Booleans.
        """
        wanted, others = answers == LESION, np.flatnonzero(answers == OTHER)
        number = len(others) if self.others is None else round(self.others * np.count_nonzero(wanted))
        wanted[rng.permutation(others)[:number]] = True
        chosen = np.flatnonzero(wanted)
        if self.most is not None and len(chosen) > self.most:
            wanted[rng.permutation(chosen)[self.most :]] = False
        return wanted

    def describe(self, scan: Scan, found: np.ndarray, wanted: np.ndarray | None = None) -> np.ndarray:
        """Return the features of candidates.

        Args:
            scan: the case.
            found: what `find` returned.
            wanted: which of them to describe; None for all.

        Returns:
            float32 `(n, features)`.

        Raises:
            UserError: a window of a volume is wanted of an image.
        """
        flat = found if wanted is None else found[wanted]
        if self.window == "scales":
            return at_scales(scan, (*self.maps, "probability"), self.map, self.levels, flat)
        if self.window == "3x3x3" and scan.inside.ndim == 2:
            raise UserError(f"case {scan.name}: is 2D, and window 3x3x3 is of volumes; choose window 5x5")
        window = self._window(scan.inside.ndim, scan.geometry.axial)
        margin = [(int(side), int(side)) for side in window.max(axis=0)]
        places = np.unravel_index(flat, scan.inside.shape)
        columns = []
        for values in (*(scan.maps[name] for name in self.maps), scan.probability):
            padded = np.pad(values, margin, mode="reflect")
            strides = np.array(padded.strides) // padded.itemsize
            centres = sum((place + low) * step for place, (low, _), step in zip(places, margin, strides, strict=True))
            columns.append(padded.ravel()[np.add.outer(centres, window @ strides)])
        return np.concatenate(columns, axis=1).astype(np.float32)

    def paint(self, found: np.ndarray, probability: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return an image of the candidates' probabilities, 0 elsewhere.

        Args:
            found: what `find` returned.
            probability: of each.
            shape: of the image.

        Returns:
            float32 of that shape.
        """
        image = np.zeros(shape, np.float32)
        image.ravel()[found] = probability
        return image

    def _window(self, dimensions: int, axial: int = 2) -> np.ndarray:
        """Return the window's places relative to its centre, `(n, dimensions)`."""
        reach = [1] * dimensions if self.window == "3x3x3" else [2] * dimensions
        if dimensions == 3 and self.window == "5x5":
            reach[axial] = 0
        grid = np.meshgrid(*(np.arange(-side, side + 1) for side in reach), indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1)


class Candidates(_Places):
    """Components, each described by some numbers and judged as a whole.

    They are those of `map < value` for each value of `below`, and those of `p >= value` for each of `above`, inside the
    brain; one that comes twice counts once. Those at one value may lie in those at another: a voxel's probability is
    the largest of the components that hold it. One is a lesion where at least the share `overlap` of its voxels is.

    Args:
        kind: "candidates".
        maps: whose values inside and around them are looked at, besides the probability.
        map: see above.
        below: see above, in the map's unit.
        above: see above.
        min_size_ml: volume in ml; smaller components are no candidates.
        overlap: see above; 0 takes one that touches a lesion for one.

    Example:
        >>> Candidates(kind="candidates", maps=("zadc",), map="zadc", below=(-2.0,)).features(3)[:3]
        ('volume_ml', 'share_of_burden', 'candidates')
    """

    kind: Literal["candidates"]
    below: tuple[float, ...] = ()
    above: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    min_size_ml: float = Field(default=0.02, ge=0)
    overlap: Share = 0.0

    _of_case: ClassVar[tuple[str, ...]] = ("volume_ml", "share_of_burden", "candidates", "burden", "brain_ml")
    _of_shape: ClassVar[tuple[str, ...]] = ("fill", "surface", "edge_mean_mm", "edge_least_mm", "off_midline")
    _of_values: ClassVar[tuple[str, ...]] = ("mean", "std", "least", "greatest", "around", "mirrored")

    @model_validator(mode="after")
    def _check_values(self) -> "Candidates":
        if not self.below and not self.above:
            raise ValueError("there are no candidates: give values of below, of the map, or of above, the probability")
        if (self.map is None) == bool(self.below):
            raise ValueError("map and below belong together: give both, or leave both out")
        return self

    def features(self, dimensions: int) -> tuple[str, ...]:
        """Return what a candidate is judged by.

        Args:
            dimensions: 2 or 3.

        Returns:
            Names: of size and case, shape and place, extent and place along each axis, and each map's values.
        """
        axes = [f"{what}_{axis}" for what in ("extent_mm", "axis_mm", "place") for axis in range(dimensions)]
        values = [f"{name} {what}" for name in (*self.maps, "probability") for what in self._of_values]
        return (*self._of_case, *self._of_shape, *axes, *values)

    def find(self, scan: Scan) -> list[np.ndarray]:
        """Return the candidates of a case.

        Args:
            scan: the case.

        Returns:
            The flat indices of the voxels of each, in order.
        """
        masks = [scan.maps[self.map] < value for value in self.below if self.map is not None]
        masks += [scan.probability >= value for value in self.above]
        found: dict[bytes, np.ndarray] = {}
        for mask in masks:
            labels = components(mask & scan.inside)[0].ravel()
            held = np.flatnonzero(labels)
            held = held[np.argsort(labels[held], kind="stable")]
            sizes = np.bincount(labels[held])[1:]
            for one in np.split(held, np.cumsum(sizes)[:-1]):
                if len(one) and at_least(len(one) * scan.geometry.voxel_ml, self.min_size_ml):
                    found.setdefault(one.tobytes(), one)
        return list(found.values())

    def answers(self, found: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
        """Return which candidates are lesions.

        Args:
            found: what `find` returned.
            target: codes `(*spatial)`.

        Returns:
            int8, one a candidate: LESION, OTHER, or UNKNOWN where all of it is ignored.
        """
        codes, answers = target.ravel(), np.empty(len(found), np.int8)
        for number, one in enumerate(found):
            known = codes[one][codes[one] != IGNORED]
            hit = np.count_nonzero(known)
            answers[number] = (hit > 0 and hit >= self.overlap * len(known)) if len(known) else UNKNOWN
        return answers

    def drawn(self, answers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return which of the candidates of all cases a forest is fitted on: all that are known.

        Args:
            answers: theirs, one case after the other.
            rng: not asked.

        Returns:
            Booleans.
        """
        del rng
        return answers != UNKNOWN

    def describe(self, scan: Scan, found: Sequence[np.ndarray], wanted: np.ndarray | None = None) -> np.ndarray:
        """Return the features of candidates.

        Args:
            scan: the case.
            found: what `find` returned.
            wanted: which of them to describe; None for all.

        Returns:
            float32 `(n, features)`.
        """
        kept = range(len(found)) if wanted is None else np.flatnonzero(wanted).tolist()
        if not len(kept):
            return np.zeros((0, len(self.features(scan.inside.ndim))), np.float32)
        reach = np.floor(RING_MM / scan.spacing).astype(int)
        voxels = int(np.count_nonzero(scan.inside))
        images = [*(scan.maps[name] for name in self.maps), scan.probability]
        held = np.unique(np.concatenate(list(found)))
        voxel_ml = scan.geometry.voxel_ml
        rows = []
        for one in (found[number] for number in kept):
            case = (
                len(one) * voxel_ml,
                len(one) / len(held),
                len(found),
                len(held) / voxels,
                voxels * voxel_ml,
            )
            rows.append([*case, *_described(scan, one, images, reach)])
        return np.array(rows, np.float32)

    def paint(self, found: Sequence[np.ndarray], probability: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return an image of the candidates' probabilities, 0 elsewhere; where several lie, the largest.

        Args:
            found: what `find` returned.
            probability: of each.
            shape: of the image.

        Returns:
            float32 of that shape.
        """
        image = np.zeros(shape, np.float32)
        flat = image.ravel()
        for one, value in zip(found, probability, strict=True):
            flat[one] = np.maximum(flat[one], np.float32(value))
        return image


Stage = Annotated[Voxels | Candidates, Field(discriminator="kind")]


def _described(scan: Scan, one: np.ndarray, images: Sequence[np.ndarray], reach: np.ndarray) -> list[float]:
    """Return the shape, place and values of a component; `reach` is `RING_MM` in voxels."""
    shape, spacing = scan.inside.shape, scan.spacing
    places = np.stack(np.unravel_index(one, shape), axis=1)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    first = np.maximum(low - reach - 1, 0)
    last = np.minimum(high + reach + 1, shape)
    window = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    mask = np.zeros(last - first, bool)
    mask[tuple((places - first).T)] = True
    away = ndimage.distance_transform_edt(~mask, sampling=spacing)
    ring = (away > 0) & (away <= RING_MM) & scan.inside[window]
    surface = np.count_nonzero(mask & ~ndimage.binary_erosion(mask)) / len(one)
    centred = (places - places.mean(axis=0)) * spacing
    axes = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred / len(one)), 0))
    centre = places.mean(axis=0, keepdims=True)
    depth = scan.depth.ravel()[one]
    form = (len(one) / np.prod(high - low), surface, depth.mean(), depth.min(), scan.off_midline(centre)[0])
    other, is_brain = scan.opposite(places)
    other = other[is_brain]
    found = [*form, *((high - low) * spacing), *axes, *scan.in_box(centre)[0]]
    for image in images:
        values, around, mirrored = image.ravel()[one], image[window][ring], image[tuple(other.T)]
        mean = float(values.mean(dtype=np.float64))
        found += [mean, float(values.std(dtype=np.float64)), float(values.min()), float(values.max())]
        # What has no brain around or opposite differs in nothing from it.
        found += [float(each.mean(dtype=np.float64)) if each.size else mean for each in (around, mirrored)]
    return found
