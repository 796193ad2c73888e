"""A picture of one scan with what was found in it: slices in rows, one PNG file."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from multifocal.cohorts import Case
from multifocal.files import atomic
from multifocal.reports.cases.case_images import CaseImages, read_case_images
from multifocal.reports.cases.pictures import chosen_slices, is_coloured, window

SLICES, COLUMNS = 12, 4
ENLARGED = 3  # pixels of the picture for one of the finer axis of a slice
MOST = 1024  # pixels along a slice, however thin its pixels are
OUTLINE = (255, 176, 0)  # as on the pages
_MASK = "mask"


def write_preview(path: str | Path, case: Case, mask: str | Path) -> None:
    """Write the slices that show a mask best, outlined over the first map, as a PNG file.

    Slices are axial, from below upwards, with their numbers from 1; the patient's left is on the right.

    Args:
        path: the file; one that is there is replaced.
        case: the scan; its brain is where its first map is not 0.
        mask: the file of its mask.

    Raises:
        UserError: a file cannot be read or written.

    Example:
        >>> write_preview("found/S1_preview.png", case, "found/S1_lesion.nii.gz")  # doctest: +SKIP
    """
    shown = read_case_images(replace(case, label=None), {_MASK: Path(mask)}, label_kind="binary")
    chosen = chosen_slices(shown, count=SLICES)
    tiles = [_tile(shown, index) for index in chosen]
    width, height = tiles[0].size
    columns = min(COLUMNS, len(tiles))
    picture = Image.new("RGB", (columns * width, math.ceil(len(tiles) / columns) * height))
    for number, tile in enumerate(tiles):
        picture.paste(tile, (number % columns * width, number // columns * height))
    with atomic(Path(path)) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _tile(shown: CaseImages, index: int) -> Image.Image:
    if is_coloured(shown):
        grey = np.mean([shown.images[name][:, :, index] for name in shown.images], axis=0)
        low, high = 0.0, float(grey.max()) or 1.0
    else:
        image = next(iter(shown.images.values()))
        low, high = window(image, shown.brain)
        grey = np.where(shown.brain, image, low)[:, :, index]
    bright = np.rint(np.clip((np.nan_to_num(grey) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    finest = min(shown.spacing[:2])
    lengths = [side * pixels for side, pixels in zip(shown.spacing, bright.shape, strict=False)]
    enlarged = min(ENLARGED / finest, MOST / max(lengths))
    size = tuple(max(1, round(enlarged * length)) for length in lengths)
    tile = Image.fromarray(bright.T).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    mask = shown.masks[_MASK]
    if mask is not None and mask[:, :, index].any():
        inside = Image.fromarray(mask[:, :, index].T).resize(size, Image.Resampling.NEAREST)
        # Around the mask, not on it: a lesion of one voxel is still seen.
        outline = ndimage.binary_dilation(np.asarray(inside)) & ~np.asarray(inside)
        pixels = np.array(tile)
        pixels[outline] = OUTLINE
        tile = Image.fromarray(pixels)
    ImageDraw.Draw(tile).text((3, 1), str(index + 1), fill=(200, 200, 200))
    return tile
