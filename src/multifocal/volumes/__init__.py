"""Images and where they lie: read, write, reorient, crop, pad, resample, and the way back to native space."""

from multifocal.volumes.crop import bounding_box, crop, pad
from multifocal.volumes.geometry import Geometry, resized, respaced
from multifocal.volumes.io import EXTENSIONS, read, read_geometry, strip_extension, write
from multifocal.volumes.orient import axis_codes, orient
from multifocal.volumes.resample import resample
from multifocal.volumes.restore import restore
from multifocal.volumes.volume import Volume

__all__ = [
    "EXTENSIONS",
    "Geometry",
    "Volume",
    "axis_codes",
    "bounding_box",
    "crop",
    "orient",
    "pad",
    "read",
    "read_geometry",
    "resample",
    "resized",
    "respaced",
    "restore",
    "strip_extension",
    "write",
]
