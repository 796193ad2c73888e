"""2D images with instance label maps: `images/` and `masks/`, files of the same stem."""

from pathlib import Path

from multifocal.cohorts.case import COLOURS, ImageFile
from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.cohorts.layouts.registry import register
from multifocal.errors import UserError
from multifocal.volumes import component_count, read_geometry, strip_extension


def _matches(root: Path) -> bool:
    return (root / "images").is_dir()


@register("images2d", needs="images/STEM.png and masks/STEM.png (2D images with label maps)", matches=_matches)
def read(found: LayoutResult) -> None:
    """Find 2D images whose masks number the instances (0 is background).

    Maps are "image" when every image is grey, and "red", "green", "blue" when one has colour: a grey image beside
    colour images is that grey in all three. An alpha channel is not a map.

    Args:
        found: has the folder, gets the cases and problems.
    """
    found.label_kind = "instances"
    images = found.listing(found.root / "images", pattern=r"(.+)", expected="STEM")
    masks = found.labels(found.root / "masks", images, pattern=r"(.+)", expected="STEM")
    channels = {name: _channels(found, path) for name, path in images.items()}
    coloured = any(count >= len(COLOURS) for count in channels.values())
    for name, path in images.items():
        if channels[name] >= len(COLOURS):
            files = {colour: ImageFile(path, component=number) for number, colour in enumerate(COLOURS)}
        else:
            files = {colour: ImageFile(path) for colour in (COLOURS if coloured else ("image",))}
        found.add(name, images=files, label=masks.get(name))


def _channels(found: LayoutResult, path: Path) -> int:
    """Return how many channels the header tells (grey 1; colour 3, with alpha 4)."""
    name = strip_extension(path.name)
    try:
        if read_geometry(path).ndim != 2:
            found.problem(f"{found.short(path)}: not a 2D image; use another layout for volumes", case=name)
            return 1
    except UserError as error:
        found.problem(str(error), case=name)
        return 1
    return component_count(path)
