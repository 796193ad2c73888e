"""nnU-Net raw datasets: `dataset.json`, `imagesTr/CASE_0000.ext`, `labelsTr/CASE.ext`, `imagesTs`."""

from pathlib import Path
from typing import Any

from multifocal.cohorts.case import ImageFile, Split
from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.cohorts.layouts.registry import register
from multifocal.errors import UserError
from multifocal.files import read_json
from multifocal.volumes import EXTENSIONS

# Images, labels, split; the test images may be absent.
_PARTS: tuple[tuple[str, str, Split], ...] = (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"))


def _matches(root: Path) -> bool:
    return (root / "dataset.json").is_file()


@register("nnunet", needs="dataset.json, imagesTr/CASE_0000.ext and labelsTr/CASE.ext (nnU-Net raw)", matches=_matches)
def read(found: LayoutResult) -> None:
    """Find the cases of an nnU-Net raw dataset (version 2, and version 1 with "modality").

    Maps are the channel names in lower case with '-' for spaces. Every case is its own subject, because the layout
    knows none.

    Args:
        found: has the folder, gets the cases and problems.
    """
    path = found.root / "dataset.json"
    description = read_json(path)
    if not isinstance(description, dict):
        raise UserError(f"{path}: expected an object with channel_names, labels and file_ending")
    maps = _maps(path, description)
    _check_labels(found, description)
    ending = str(description.get("file_ending", ".nii.gz"))
    if ending not in EXTENSIONS:
        found.problem(f"dataset.json: file_ending '{ending}' is not read here; use one of {', '.join(EXTENSIONS)}")
    if not (found.root / "imagesTr").is_dir():
        found.problem("imagesTr: no such folder; it must hold the training images")
    for images, labels, split in _PARTS:
        if (found.root / images).is_dir():
            _read_part(found, found.root / images, found.root / labels, maps=maps, ending=ending, split=split)
    stated, counted = description.get("numTraining"), sum(case.split == "train" for case in found.cases.values())
    if isinstance(stated, int) and stated != counted:
        found.problem(f"dataset.json: numTraining is {stated}, but imagesTr holds {counted} cases; correct one of them")


def _read_part(
    found: LayoutResult, images: Path, labels: Path, *, maps: tuple[str, ...], ending: str, split: Split
) -> None:
    files = found.listing(images, pattern=r"(.+_\d{4})", expected="CASE_0000 (the case and its channel)")
    cases: dict[str, dict[str, Path]] = {}
    for stem, path in files.items():
        name, _, channel = stem.rpartition("_")
        if not path.name.endswith(ending):
            found.problem(f"{found.short(path)}: its ending is not dataset.json's file_ending '{ending}'", case=name)
        if int(channel) < len(maps):
            cases.setdefault(name, {})[maps[int(channel)]] = path
        else:
            found.problem(f"{found.short(path)}: dataset.json names only {len(maps)} channels", case=name)
    for name, channels in cases.items():
        for number, channel in enumerate(maps):
            if channel not in channels:
                wanted = found.short(images / f"{name}_{number:04d}{ending}")
                found.problem(f"{wanted} ({channel}) is missing; add it", case=name)
    first = {name: next(iter(channels.values())) for name, channels in cases.items()}
    masks = found.labels(labels, first, pattern=r"(.+)", expected="CASE")
    for name, channels in cases.items():
        ordered = {channel: ImageFile(channels[channel]) for channel in maps if channel in channels}
        found.add(name, images=ordered, label=masks.get(name), split=split)


def _maps(path: Path, description: dict[str, Any]) -> tuple[str, ...]:
    """Return the map of each channel, in order."""
    channels = description.get("channel_names", description.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise UserError(f'{path}: no channel_names; expected for instance {{"0": "ADC", "1": "Z-ADC"}}')
    if sorted(channels) != sorted(str(number) for number in range(len(channels))):
        raise UserError(f"{path}: channel_names are numbered {', '.join(channels)}; expected 0 to {len(channels) - 1}")
    maps = tuple(str(channels[str(number)]).strip().lower().replace(" ", "-") for number in range(len(channels)))
    if len(set(maps)) < len(maps):
        raise UserError(f"{path}: channel_names repeat ({', '.join(maps)}); give every channel its own name")
    return maps


def _check_labels(found: LayoutResult, description: dict[str, Any]) -> None:
    """Version 2 maps names to values, version 1 values to names: either way there must be one foreground."""
    labels = description.get("labels")
    if isinstance(labels, dict) and len(labels) != 2:
        found.problem(
            f"dataset.json: labels has {len(labels)} entries ({', '.join(map(str, labels))}); "
            "expected the background and one foreground"
        )
