"""From a case's files to what a network sees, with the grid that leads back."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from multifocal.cohorts import Case, ImageFile, Labels
from multifocal.errors import UserError
from multifocal.pipeline.channels import correct_bias, derive, make_channel
from multifocal.pipeline.settings import BrainBox, Channel, Preprocessing
from multifocal.volumes import Geometry, Volume, axis_codes, bounding_box, crop, orient, resized, respaced, restore

_MASK = Labels()
_CURES = {"zadc": "; make it of ADC with `multifocal zadc`, or use recipe default-adc, which needs none"}
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


def prepare(
    case: Case,
    settings: Preprocessing,
    *,
    labels: Labels = _MASK,
    with_label: bool = True,
    frequency: np.ndarray | None = None,
) -> Prepared:
    """Read a case and put it on the network's grid.

    Args:
        case: the case.
        settings: the preprocessing.
        labels: what the values of its label mean.
        with_label: whether its label, if it has one, is read too.
        frequency: of lesions in the training cases, for the channel lesion-frequency.

    Returns:
        Channels, brain and label.

    Raises:
        UserError: a map is missing, lies on another grid, is constant or not finite, the brain is empty (or is on the
            network's grid), the label is not a mask, or holds a value that nobody named, or a channel cannot be made of
            such an image.
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
    left_right = next(axis for axis, letter in enumerate(axis_codes(grid)) if letter in "LR")

    @cache
    def on_grid(name: str, n4: bool) -> np.ndarray:
        volume = oriented[name]
        if n4:
            brain_of_it = inside.array.astype(bool) if settings.brain is not None else None
            volume = correct_bias(volume, brain_of_it, where=str(case.images[name].path))
        return place(volume, "linear")

    def make(channel: Channel) -> np.ndarray:
        values = derive(
            channel,
            {name: on_grid(name, channel.n4 and name == channel.map) for name in channel.maps},
            inside_array,
            has_brain=masked is not None,
            left_right=left_right,
            frequency=frequency,
            where=case.name,
        )
        where = f"case {case.name}" if channel.map is None else str(case.images[channel.map].path)
        return make_channel(values, masked, channel, where=where)

    channels = [make(channel) for channel in settings.channels]
    target = None
    if label is not None:
        target = place(orient(Volume(label, first.geometry), axes=settings.axes), "nearest")
    return Prepared(case.name, np.stack(channels), target, inside_array, grid, brain, first.geometry, label)


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
    names = settings.maps
    for name in names:
        if name not in case.images:
            cure = _CURES.get(name, "")
            raise UserError(
                f"case {case.name}: has no map '{name}', which the recipe needs; it has {', '.join(case.images)}{cure}"
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
        return labels.encode(whole) if labels.border is None else labels.encode_instances(whole)
    except ValueError as error:
        raise UserError(f"{file.path}: {error}; name it in labels.classes, or in labels.ignore") from error


def _brain(case: Case, maps: Mapping[str, Volume], settings: Preprocessing) -> np.ndarray:
    if settings.brain is None:
        return np.ones(next(iter(maps.values())).geometry.size, bool)
    brain = maps[settings.brain].array != 0
    if not brain.any():
        raise UserError(f"{case.images[settings.brain].path}: is 0 everywhere, so there is no brain; check the file")
    return brain
