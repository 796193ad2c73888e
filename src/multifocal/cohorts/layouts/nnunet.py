"""nnU-Net raw datasets, and the Decathlon's: `dataset.json`, and the files that it lists or that its folders hold."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from multifocal.cohorts.case import COLOURS, ImageFile, Split
from multifocal.cohorts.labels import Labels
from multifocal.cohorts.layouts.layout_result import LayoutResult
from multifocal.cohorts.layouts.registry import register
from multifocal.config import validate
from multifocal.errors import UserError
from multifocal.files import on_disk, one_form, read_json
from multifocal.volumes import EXTENSIONS, component_count, extension_of, strip_extension

PICTURES = (".png", ".tif", ".tiff")  # one file may hold all channels, as colours
# Images, labels, split, list of a version 1; the test images may be absent.
_PARTS: tuple[tuple[str, str, Split, str], ...] = (
    ("imagesTr", "labelsTr", "train", "training"),
    ("imagesTs", "labelsTs", "test", "test"),
)


@dataclass(frozen=True)
class _Found:
    """The files of a case: one a channel, by number, or one alone that may hold all channels."""

    channels: dict[int, Path]
    label: ImageFile | None
    split: Split


def _matches(root: Path) -> bool:
    return (root / "dataset.json").is_file()


@register("nnunet", needs="dataset.json, imagesTr/CASE_0000.ext and labelsTr/CASE.ext (nnU-Net raw)", matches=_matches)
def read(found: LayoutResult) -> None:
    """Find the cases of an nnU-Net raw dataset (version 2, and version 1 with "modality"), or of the Decathlon's.

    Maps are the channel names in lower case with '-' for spaces. One file may hold all channels (a 4D image, colours);
    colours that have no names of their own, or are named R, G and B, are "red", "green" and "blue". Where dataset.json
    lists files ("dataset" of version 2, "training" and "test" of version 1), these are the cases. Every case is its own
    subject, because the layout knows none.

    Args:
        found: has the folder, gets the cases and problems.
    """
    path = found.root / "dataset.json"
    description = read_json(path)
    if not isinstance(description, dict):
        raise UserError(f"{path}: expected an object with channel_names, labels and file_ending")
    maps = _maps(path, description)
    found.label_values = _labels(found, description)
    ending = str(description.get("file_ending", ".nii.gz"))
    if ending.lower() not in EXTENSIONS:
        found.problem(f"dataset.json: file_ending '{ending}' is not read here; use one of {', '.join(EXTENSIONS)}")
    cases: dict[str, _Found] = {}
    for images, labels, split, key in _PARTS:
        listed = description.get("dataset") if split == "train" else None
        if listed is not None:
            _add(found, cases, _listed_by_name(found, listed))
        elif description.get(key):
            _add(found, cases, _listed_by_path(found, description[key], key=key, labels=labels, split=split))
            _name_unlisted(found, cases, (images, labels), key=key)
        elif (found.root / images).is_dir():
            _add(found, cases, _in_folder(found, images, labels, ending=ending, split=split))
        elif split == "train":
            found.problem(f"{images}: no such folder; it must hold the training images")
    _add_images(found, cases, maps, ending)
    stated, counted = description.get("numTraining"), sum(case.split == "train" for case in found.cases.values())
    if isinstance(stated, int) and stated != counted:
        where = next((f"'{key}' lists" for key in ("dataset", "training") if description.get(key)), "imagesTr holds")
        found.problem(f"dataset.json: numTraining is {stated}, but {where} {counted} cases; correct one of them")


def _add(found: LayoutResult, cases: dict[str, _Found], more: Iterator[tuple[str, _Found]]) -> None:
    for name, files in more:
        name = one_form(name)
        if name in cases:
            where = found.short(next(iter(files.channels.values())))
            found.problem(f"there is a second case of this name ({where}); rename or remove one", case=name)
        else:
            cases[name] = files


def _in_folder(
    found: LayoutResult, images: str, labels: str, *, ending: str, split: Split
) -> Iterator[tuple[str, _Found]]:
    """Yield the cases whose files lie in the folders of a part."""
    files = found.listing(found.root / images, pattern=r"(.+_\d{4})", expected="CASE_0000 (the case and its channel)")
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in files.items():
        name, _, channel = stem.rpartition("_")
        if not path.name.lower().endswith(ending.lower()):
            found.problem(f"{found.short(path)}: its ending is not dataset.json's file_ending '{ending}'", case=name)
        cases.setdefault(name, {})[int(channel)] = path
    first = {name: next(iter(numbered.values())) for name, numbered in cases.items()}
    masks = found.labels(found.root / labels, first, pattern=r"(.+)", expected="CASE")
    for name, numbered in cases.items():
        yield name, _Found(numbered, masks.get(name), split)


def _listed_by_name(found: LayoutResult, listed: Any) -> Iterator[tuple[str, _Found]]:
    """Yield the training cases of version 2's "dataset": {case: {"images": [path, ...], "label": path}}."""
    for name, entry in listed.items() if isinstance(listed, dict) else [("", None)]:
        given = entry if isinstance(entry, dict) else {}
        images, label = given.get("images"), _path(found, given.get("label"))
        paths = [path for image in images if (path := _path(found, image))] if isinstance(images, list) else []
        if not (isinstance(images, list) and paths and len(paths) == len(images) and label):
            found.problem(f"dataset.json: dataset.{name}: expected images (a list of paths) and label (a path)")
            continue
        _check_there(found, name, [*paths, label])
        yield name, _Found(dict(enumerate(paths)), ImageFile(label), "train")


def _listed_by_path(
    found: LayoutResult, listed: Any, *, key: str, labels: str, split: Split
) -> Iterator[tuple[str, _Found]]:
    """Yield the cases of version 1's "training" or "test": {"image": path, "label": path}, or the path of an image.

    CASE.ext is one file with all channels, as in the Decathlon; or it stands for CASE_0000.ext, CASE_0001.ext, ...
    """
    for number, entry in enumerate(listed if isinstance(listed, list) else [None]):
        given = entry if isinstance(entry, dict) else {"image": entry}
        image, label = _path(found, given.get("image")), _path(found, given.get("label"))
        if not image or (not label and split == "train"):
            expected = "an object with the paths image and label" if split == "train" else "the path of an image"
            found.problem(f"dataset.json: {key}[{number}]: expected {expected}")
            continue
        if not label and (found.root / labels / image.name).is_file():
            label = found.root / labels / image.name
        name, stem = strip_extension((label or image).name), strip_extension(image.name)
        channels = [image]
        if not image.is_file() or one_form(stem) == one_form(f"{name}_0000"):
            files = (f"{name}_{channel:04d}{image.name[len(stem) :]}" for channel in range(10**4))
            numbered = (on_disk(image.parent, file) for file in files)
            channels = list(takewhile(Path.is_file, numbered)) or channels
        _check_there(found, name, [*channels, label] if label else channels)
        yield name, _Found(dict(enumerate(channels)), ImageFile(label) if label else None, split)


def _path(found: LayoutResult, text: Any) -> Path | None:
    """Return the path that dataset.json gives: from its folder on, or with variables of the environment."""
    return on_disk(found.root, os.path.expandvars(text)) if isinstance(text, str) and text else None


def _check_there(found: LayoutResult, name: str, paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            found.problem(f"{found.short(path)}: no such file, though dataset.json lists it; add it", case=name)


def _name_unlisted(found: LayoutResult, cases: dict[str, _Found], folders: Sequence[str], *, key: str) -> None:
    """Note the files of a part that its list leaves out: it should hold all of them."""
    listed = {path for files in cases.values() for path in files.channels.values()}
    listed |= {files.label.path for files in cases.values() if files.label}
    for folder in folders:
        if (found.root / folder).is_dir():
            for path in found.listing(found.root / folder, pattern=r"(.+)", expected="CASE").values():
                if path not in listed:
                    found.problem(f"{found.short(path)}: is not listed in dataset.json's '{key}'; list it or remove it")


def _add_images(found: LayoutResult, cases: dict[str, _Found], maps: tuple[str, ...], ending: str) -> None:
    """Add every case with its maps: a file a channel, or the components of one file."""
    counts = {name: _components(found, name, files, maps) for name, files in cases.items()}
    has_colours = max(counts.values(), default=0) >= len(COLOURS)
    names = COLOURS if has_colours and (len(maps) == 1 or maps == ("r", "g", "b")) else maps
    for name, files in cases.items():
        numbered, count = files.channels, counts[name]
        first = next(iter(numbered.values()))
        alpha = 1 if names == COLOURS and extension_of(first.name) in PICTURES else 0
        if 1 < len(names) <= count <= len(names) + alpha:
            images = {channel: ImageFile(first, component=number) for number, channel in enumerate(names)}
        elif count == 1 and names == COLOURS and has_colours:  # a grey image among those of colour
            images = {channel: ImageFile(first) for channel in names}
        else:
            images = {channel: ImageFile(numbered[n]) for n, channel in enumerate(names) if n in numbered}
            for number in sorted(numbered.keys() - set(range(len(names)))):
                text = f"{found.short(numbered[number])}: dataset.json names only {len(names)} channels"
                found.problem(text, case=name)
            if count > 1 or (count == 1 < len(names) and one_form(strip_extension(first.name)) == name):
                text = f"{found.short(first)}: holds {count} images where dataset.json names {len(names)} channels"
                found.problem(f"{text}; correct channel_names, or save each channel as a file", case=name)
            elif count:
                for number in sorted(set(range(len(names))) - numbered.keys()):
                    wanted = found.short(first.with_name(f"{name}_{number:04d}{ending}"))
                    found.problem(f"{wanted} ({names[number]}) is missing; add it", case=name)
        found.add(name, images=images or {names[0]: ImageFile(first)}, label=files.label, split=files.split)


def _components(found: LayoutResult, name: str, files: _Found, maps: tuple[str, ...]) -> int:
    """Return how many images the only file of a case holds, where it may hold all; 0 if it cannot be read."""
    path = files.channels.get(0)
    if path is None or len(files.channels) > 1 or (len(maps) == 1 and extension_of(path.name) not in PICTURES):
        return 1
    if not path.is_file():  # which was noted
        return 0
    try:
        return component_count(path)
    except UserError as error:
        found.problem(str(error), case=name)
        return 0


def _maps(path: Path, description: dict[str, Any]) -> tuple[str, ...]:
    """Return the map of each channel, in order."""
    channels = description.get("channel_names", description.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise UserError(f'{path}: no channel_names; expected for instance {{"0": "ADC", "1": "Z-ADC"}}')
    if sorted(channels) != sorted(str(number) for number in range(len(channels))):
        raise UserError(f"{path}: channel_names are numbered {', '.join(channels)}; expected 0 to {len(channels) - 1}")
    said = (one_form(str(channels[str(number)])) for number in range(len(channels)))
    maps = tuple(name.strip().lower().replace(" ", "-") for name in said)
    if maps == ("rgb_to_0_1",) * len(COLOURS):  # what nnU-Net has to call the colours for them to be scaled
        return COLOURS
    if len(set(maps)) < len(maps):
        raise UserError(f"{path}: channel_names repeat ({', '.join(maps)}); give every channel its own name")
    return maps


def _labels(found: LayoutResult, description: dict[str, Any]) -> Labels:
    """Return the classes. Version 2 maps names to a value, or to those of a region; version 1 values to names."""
    said = description.get("labels")
    if not isinstance(said, dict):
        return Labels()
    values = {str(v) if str(k).isdecimal() else str(k): k if str(k).isdecimal() else v for k, v in said.items()}
    ignore = next((name for name in values if name.lower() == "ignore"), None)
    classes = {
        name: [_number(each) for each in (value if isinstance(value, list) else [value])]
        for name, value in values.items()
        if name != ignore and value not in (0, "0", [0])
    }
    if not classes:
        found.problem("dataset.json: labels names no class but the background; add the lesions")
        return Labels()
    counts = Counter(value for members in classes.values() for value in {str(member) for member in members})
    is_mask = list(classes.values()) == [[1]]
    try:
        return validate(
            Labels,
            {
                "classes": {} if is_mask else classes,
                "overlap": len(classes) > 1 and max(counts.values()) > 1,
                "ignore": None if ignore is None else _number(values[ignore]),
            },
            where="dataset.json: labels",
        )
    except UserError as error:
        found.problem(str(error))
        return Labels()


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value
