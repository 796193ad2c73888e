"""Pictures of a case: grey images on the disk, and masks over them as SVG paths in voxel units.

Paths are sharp at every size, and coloured by the page's style sheet.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from multifocal.cohorts.case import COLOURS
from multifocal.metrics import ScoringOptions
from multifocal.reports.cases.case_images import CaseImages
from multifocal.reports.cases.lesion_outcomes import KINDS, lesion_outcomes

SLICES = 6
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
WINDOW = (1, 98)  # percentiles of the brain between which greys are spread


@dataclass(frozen=True)
class Tile:
    """A grey picture with paths over it.

    Attributes:
        image: the picture's file, from the report's folder.
        size: its columns and rows.
        pixel: width and height of a pixel in mm.
        paths: (class, path data, what it is) to draw over it, in pixels.
    """

    image: str
    size: tuple[int, int]
    pixel: tuple[float, float]
    paths: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Slice:
    """One axial slice: true outlines alone, and with those of each arm."""

    index: int
    truth: Tile
    arms: Mapping[str, Tile | None]
    areas: Mapping[str, int]


def window(image: np.ndarray, brain: np.ndarray) -> tuple[float, float]:
    """Return the values shown black and white."""
    inside = image[brain & np.isfinite(image)]
    low, high = np.percentile(inside, WINDOW) if inside.size else (0.0, 1.0)
    return float(low), float(high) if high > low else float(low) + 1.0


def slices(case: CaseImages, folder: Path, *, prefix: str) -> list[Slice]:
    """Draw the slices that show a case best, lowest first.

    Args:
        case: the case.
        folder: where the grey pictures go.
        prefix: the folder's name from the report's.

    Returns:
        One entry a slice, from below upwards.
    """
    image = next(iter(case.images.values()))
    levels = window(image, case.brain)
    found = []
    for index in chosen_slices(case):
        name = f"slice{index:03d}.png"
        if is_coloured(case):
            _write_colours(folder / name, [case.images[colour][:, :, index] for colour in COLOURS], case)
        else:
            _write_grey(folder / name, np.where(case.brain, image, levels[0])[:, :, index], levels)
        blank = Tile(f"{prefix}/{name}", case.truth.shape[:2], case.spacing[:2])
        true = ("truth", outline(case.truth[:, :, index]), "true outline")
        cuts = {arm: None if mask is None else mask[:, :, index] for arm, mask in case.masks.items()}
        arms = {
            arm: None if cut is None else _over(blank, true, ("prediction", outline(cut), "predicted outline"))
            for arm, cut in cuts.items()
        }
        areas = {
            arm: int(np.count_nonzero(case.truth[:, :, index] | (False if cut is None else cut)))
            for arm, cut in cuts.items()
        }
        found.append(Slice(index, _over(blank, true), arms, areas))
    return found


def is_coloured(case: CaseImages) -> bool:
    """Whether the maps of a case are the colours of one image."""
    return set(COLOURS) <= case.images.keys()


def chosen_slices(case: CaseImages, *, count: int = SLICES) -> list[int]:
    """Return at most `count` slices: spread evenly over the true lesion volume, then over what is predicted."""
    predicted = [mask for mask in case.masks.values() if mask is not None]
    chosen: set[int] = set()
    for volume in (case.truth, np.sum(predicted, axis=0) if predicted else case.truth, case.brain):
        areas = volume.sum(axis=(0, 1), dtype=np.int64)
        if areas.any() and len(chosen) < math.ceil(count / 2):
            middles = (np.arange(count - len(chosen)) + 0.5) / (count - len(chosen)) * areas.sum()
            chosen.update(np.searchsorted(np.cumsum(areas), middles).tolist())
    return sorted(chosen)


def projections(
    case: CaseImages, folder: Path, *, prefix: str, options: Mapping[str, ScoringOptions]
) -> dict[str, dict[str, Tile | None]]:
    """Draw every arm's lesions as seen through the brain along each axis, found, missed and false ones: {plane: {arm}}.

    Grey is the mean of the first map along the line of sight. A 2D image is its own only projection.
    """
    colours = {arm: _colours(case, labels, options.get(arm)) for arm, labels in case.predictions.items()}
    return _projected(case, folder, prefix=prefix, colours=colours, kinds=KINDS)


def shadows(case: CaseImages, folder: Path, *, prefix: str) -> dict[str, dict[str, Tile | None]]:
    """Draw every arm's lesions as seen through the brain along each axis, where nobody knows the true ones.

    Grey is the mean of the first map along the line of sight. A 2D image is its own only projection.
    """
    colours = {arm: None if mask is None else mask.astype(np.uint8) for arm, mask in case.masks.items()}
    return _projected(case, folder, prefix=prefix, colours=colours, kinds={1: "lesion"})


def _projected(
    case: CaseImages,
    folder: Path,
    *,
    prefix: str,
    colours: Mapping[str, np.ndarray | None],
    kinds: Mapping[int, str],
) -> dict[str, dict[str, Tile | None]]:
    image = next(iter(case.images.values()))
    found: dict[str, dict[str, Tile | None]] = {}
    for plane, axis in list(PLANES.items())[: 3 if case.geometry.ndim == 3 else 1]:
        through = np.maximum(case.brain.sum(axis=axis), 1)
        grey = upright(np.where(case.brain, np.nan_to_num(image), 0.0).sum(axis=axis) / through, plane)
        seen = upright(np.any(case.brain, axis=axis), plane)
        levels = window(grey, seen)
        if case.geometry.ndim == 2 and is_coloured(case):
            _write_colours(folder / f"{plane}.png", [case.images[colour][:, :, 0] for colour in COLOURS], case)
        else:
            _write_grey(folder / f"{plane}.png", np.where(seen, grey, levels[0]), levels)
        across, down = (side for i, side in enumerate(case.spacing) if i != axis)
        blank = Tile(f"{prefix}/{plane}.png", grey.shape, (across, down))
        found[plane] = {
            arm: None if colour is None else _over(blank, *_areas(colour, axis, plane, kinds))
            for arm, colour in colours.items()
        }
    return found


def upright(view: np.ndarray, plane: str) -> np.ndarray:
    """Turn a view so that up, or the front, is at the top."""
    return view if plane == "axial" else view[:, ::-1]


def outline(mask: np.ndarray) -> str:
    """Return the edges between inside and outside of a 2D mask, as path data to be stroked.

    Axis 0 runs to the right and axis 1 down; a voxel (i, j) covers the square from (i, j) to (i + 1, j + 1). Edges lie
    where the mask's do, without smoothing; straight pieces are drawn as one.

    Args:
        mask: boolean (X, Y) of one slice.

    Returns:
        A path for SVG's `d`, in pixels; empty without a mask.

    Example:
        >>> outline(np.array([[1], [1]], bool))
        'M0 0v1M2 0v1M0 0h2M0 1h2'
    """
    padded = np.pad(mask, 1).astype(np.int8)
    upright = [f"M{i} {j}v{n}" for i, j, n in _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)]
    level = [f"M{i} {j}h{n}" for j, i, n in _runs(np.diff(padded, axis=1)[1:-1].T != 0)]
    return "".join(upright + level)


def area(mask: np.ndarray) -> str:
    """Return a 2D mask as path data to be filled, one box a run of voxels down axis 1.

    Args:
        mask: boolean (X, Y) of one slice.

    Returns:
        A path for SVG's `d`, in pixels; empty without a mask.

    Example:
        >>> area(np.array([[1, 1, 0, 1]], bool))
        'M0 0h1v2h-1zM0 3h1v1h-1z'
    """
    return "".join(f"M{i} {j}h1v{n}h-1z" for i, j, n in _runs(mask))


def _colours(case: CaseImages, labels: np.ndarray | None, options: ScoringOptions | None) -> np.ndarray | None:
    """Return what became of the lesions of an arm; None for an arm without a mask, or one that was not scored."""
    if labels is None or options is None:
        return None
    prediction = labels if options.predicts_label_maps else labels > 0
    target = case.lesions if options.has_label_maps else case.truth
    return lesion_outcomes(prediction, target, spacing=case.spacing, options=options)


def _areas(colour: np.ndarray, axis: int, plane: str, kinds: Mapping[int, str]) -> list[tuple[str, str, str]]:
    return [(name, area(upright(np.any(colour == kind, axis=axis), plane)), name) for kind, name in kinds.items()]


def _over(blank: Tile, *paths: tuple[str, str, str]) -> Tile:
    return Tile(blank.image, blank.size, blank.pixel, tuple(path for path in paths if path[1]))


def _write_colours(file: Path, channels: Sequence[np.ndarray], case: CaseImages) -> None:
    """Write a picture in its own colours, which one window for each would change: bytes stay as they are."""
    top = max(float(np.nanmax(case.images[colour], initial=0)) for colour in COLOURS)
    scale = 1.0 if top <= 255 else 255 / top
    pixels = np.clip(np.nan_to_num(np.stack(channels, axis=-1)) * scale, 0, 255)
    Image.fromarray(np.rint(pixels).astype(np.uint8).transpose(1, 0, 2)).save(file, optimize=True)


def _write_grey(file: Path, image: np.ndarray, levels: tuple[float, float]) -> None:
    grey = np.clip((np.nan_to_num(image) - levels[0]) / (levels[1] - levels[0]), 0, 1)
    Image.fromarray(np.rint(grey * 255).astype(np.uint8).T).save(file, optimize=True)


def _runs(lines: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (line, start, length) of every run of True along axis 1."""
    steps = np.diff(np.pad(lines.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for (line, start), (_, end) in zip(
        np.argwhere(steps == 1).tolist(), np.argwhere(steps == -1).tolist(), strict=True
    ):
        yield line, start, end - start
