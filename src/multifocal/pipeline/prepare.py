"""From a case's files to what a network sees, with the grid that leads back."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

from multifocal.cohorts import Case, ImageFile, Labels
from multifocal.errors import UserError
from multifocal.pipeline.settings import BrainBox, Channel, Preprocessing
from multifocal.volumes import Geometry, Volume, bounding_box, crop, orient, resized, respaced, restore

_MASK = Labels()
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid.

    Args:
        name: the case's name.
        images: float32 `(C, *spatial)`.
        target: uint8 `(*spatial)`, the codes of `Labels`: of a mask 0 and 1; or None without a label.
        inside: bool `(*spatial)`: the brain (everything, when the recipe names none).
        geometry: where these voxels lie; `volumes.restore` finds the way home from it.
        native_brain: bool, the brain on the source's own grid.
        native: the source's own grid.
        label: the same on the source's own grid, or None.
    """

    name: str
    images: np.ndarray
    target: np.ndarray | None
    inside: np.ndarray
    geometry: Geometry
    native_brain: np.ndarray
    native: Geometry
    label: np.ndarray | None


def prepare(case: Case, settings: Preprocessing, *, labels: Labels = _MASK, with_label: bool = True) -> Prepared:
    """Read a case and put it on the network's grid.

    Args:
        case: the case.
        settings: the preprocessing.
        labels: what the values of its label mean.
        with_label: whether its label, if it has one, is read too.

    Returns:
        Channels, brain and label.

    Raises:
        UserError: a map is missing, lies on another grid, is constant or not finite, the brain is empty (or is on the
            network's grid), or the label is not a mask, or holds a value that nobody named.
    """
    maps = _read_maps(case, settings)
    first = next(iter(maps.values()))
    label = _read_label(case.label, first.geometry, labels) if with_label and case.label is not None else None
    brain = _brain(case, maps, settings)
    oriented = {name: orient(volume, axes=settings.axes) for name, volume in maps.items()}
    inside = orient(Volume(brain.view(np.uint8), first.geometry), axes=settings.axes)
    grid, nearest = _grid(inside, settings, where=case.name)

    def place(volume: Volume, interpolation: Literal["nearest", "linear"]) -> np.ndarray:
        # `restore` copies voxels where the grid is only a cut-out of the source, as in a brain box at its own spacing.
        return restore(volume, grid, interpolation="nearest" if nearest else interpolation).array

    inside_array = place(inside, "nearest").astype(bool)
    if not inside_array.any():
        finer = "spacing" if isinstance(settings, BrainBox) else "size"
        raise UserError(
            f"case {case.name}: nothing of its brain ({brain.sum()} voxels) is left on the network's grid of "
            f"{'×'.join(map(str, grid.size))}; choose a finer preprocessing.{finer}, or check the map {settings.brain}"
        )
    masked = inside_array if settings.brain is not None else None
    channels = [
        make_channel(place(oriented[c.map], "linear"), masked, c, where=str(case.images[c.map].path))
        for c in settings.channels
    ]
    target = None
    if label is not None:
        target = place(orient(Volume(label, first.geometry), axes=settings.axes), "nearest")
    return Prepared(case.name, np.stack(channels), target, inside_array, grid, brain, first.geometry, label)


def make_channel(values: np.ndarray, inside: np.ndarray | None, settings: Channel, *, where: str) -> np.ndarray:
    """Return one float32 channel from a map, as the recipe says.

    Args:
        values: the map on the prepared grid, `(*spatial)`.
        inside: brain mask on the same grid, or None when the recipe names no brain.
        settings: what to do.
        where: the map's file, for messages.

    Returns:
        float32 `(*spatial)`.

    Raises:
        UserError: the map is constant and cannot be normalised.

    Example:
        >>> prior = Channel(map="zadc", below=-2)
        >>> make_channel(np.array([-3.0, -2.0, 1.0]), None, prior, where="zadc.mha").tolist()
        [1.0, 0.0, 0.0]
    """
    values = values.astype(np.float32)
    if settings.below is not None:
        prior = values < settings.below
        return (prior if inside is None else prior & inside).astype(np.float32)
    if settings.clip is not None:
        values = np.clip(values, *settings.clip)
    if settings.range is not None:
        low, high = settings.range
        values = (values - low) / (high - low)
    if settings.zscore is not None:
        within = inside if settings.zscore == "brain" else None
        values = _zscore(values, within, where=where)
    return np.ascontiguousarray(values, np.float32)


def _grid(inside: Volume, settings: Preprocessing, *, where: str) -> tuple[Geometry, bool]:
    """Return the network's grid and whether maps go there by nearest neighbour."""
    if not isinstance(settings, BrainBox):
        size = settings.size
        if len(size) != inside.geometry.ndim:
            raise UserError(
                f"case {where}: is {inside.geometry.ndim}D, but preprocessing.size has {len(size)} numbers; "
                "choose a recipe for such images"
            )
        full = [own if wanted is None else wanted for wanted, own in zip(size, inside.geometry.size, strict=True)]
        return resized(inside.geometry, full), settings.interpolation == "nearest"
    lower, upper = bounding_box(inside.array) or ((), ())
    lower = tuple(max(0, a - settings.margin) for a in lower)
    upper = tuple(min(n, b + settings.margin) for b, n in zip(upper, inside.geometry.size, strict=True))
    box = crop(inside, lower=lower, upper=upper).geometry
    if settings.spacing is None:
        return box, False
    if len(settings.spacing) != box.ndim:
        raise UserError(f"case {where}: is {box.ndim}D, but preprocessing.spacing has {len(settings.spacing)} numbers")
    return respaced(box, settings.spacing), False


def _read_maps(case: Case, settings: Preprocessing) -> Mapping[str, Volume]:
    names = dict.fromkeys([channel.map for channel in settings.channels] + ([settings.brain] if settings.brain else []))
    for name in names:
        if name not in case.images:
            raise UserError(
                f"case {case.name}: has no map '{name}', which the recipe needs; it has {', '.join(case.images)}"
            )
    with ThreadPoolExecutor(len(names)) as pool:  # inflating files leaves Python free to read the others
        maps = dict(zip(names, pool.map(lambda name: case.images[name].read(), names), strict=True))
    for name in names:
        if not (np.abs(maps[name].array) <= LARGEST).all():  # which NaN is not either
            raise UserError(
                f"{case.images[name].path}: holds NaN, inf or numbers beyond 32 bits; repair the file "
                "(`multifocal data check` shows more)"
            )
        first = next(iter(maps))
        different = maps[name].geometry.differences(maps[first].geometry)
        if different:
            raise UserError(
                f"{case.images[name].path}: lies on another grid than {case.images[first].path.name}: "
                f"{'; '.join(different)}; resample one onto the other"
            )
    return maps


def _read_label(file: ImageFile, native: Geometry, labels: Labels) -> np.ndarray:
    label = file.read()
    different = label.geometry.differences(native)
    if different:
        raise UserError(
            f"{file.path}: lies on another grid than the images: {'; '.join(different)}; resample it onto theirs"
        )
    whole = label.array.astype(np.int32) if (np.abs(label.array) < 2**31).all() else None
    if whole is None or (whole < 0).any() or (whole != label.array).any():
        raise UserError(f"{file.path}: is not a mask; write whole numbers, 0 for background")
    try:
        return labels.encode(whole)
    except ValueError as error:
        raise UserError(f"{file.path}: {error}; name it in labels.classes, or in labels.ignore") from error


def _brain(case: Case, maps: Mapping[str, Volume], settings: Preprocessing) -> np.ndarray:
    if settings.brain is None:
        return np.ones(next(iter(maps.values())).geometry.size, bool)
    brain = maps[settings.brain].array != 0
    if not brain.any():
        raise UserError(f"{case.images[settings.brain].path}: is 0 everywhere, so there is no brain; check the file")
    return brain


def _zscore(values: np.ndarray, inside: np.ndarray | None, *, where: str) -> np.ndarray:
    """Return `(x - mean) / std` over the image, or over the brain with 0 outside."""
    sample = (values if inside is None else values[inside]).astype(np.float64)
    mean, std = sample.mean(), sample.std()
    # The spread of a constant image is rounding noise, which must not be blown up to unit variance.
    if std <= 1e-6 * abs(mean):
        raise UserError(
            f"{where}: is constant ({mean:g}) and cannot be normalised; check that the file is the right one"
        )
    scaled = ((values - mean) / std).astype(np.float32)
    return scaled if inside is None else np.where(inside, scaled, np.float32(0))
