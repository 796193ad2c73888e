"""Images and where they lie: read, write, reorient, crop, pad, resample, and the way back to native space."""

from typing import Any

from multifocal.volumes.geometry import Geometry, Volume, resized, respaced
from multifocal.volumes.io import (
    component_count,
    extension_of,
    extensions,
    image_files,
    read,
    read_geometry,
    remarks,
    strip_extension,
    volumes_named,
    write,
)
from multifocal.volumes.rearrange import axis_codes, bounding_box, crop, orient, pad
from multifocal.volumes.resample import resample, restore

__all__ = [
    "EXTENSIONS",
    "Geometry",
    "Volume",
    "axis_codes",
    "bounding_box",
    "component_count",
    "crop",
    "extension_of",
    "extensions",
    "image_files",
    "orient",
    "pad",
    "read",
    "read_geometry",
    "remarks",
    "resample",
    "resized",
    "respaced",
    "restore",
    "strip_extension",
    "volumes_named",
    "write",
]

EXTENSIONS: tuple[str, ...]  # of all formats, and so looked up when it is asked for


def __getattr__(name: str) -> Any:
    if name == "EXTENSIONS":
        return extensions()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
