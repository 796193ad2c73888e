"""Volumes as a script: a page that is a file may not read the files beside it, but it may run them."""

import base64
import gzip
import json
from dataclasses import replace
from typing import Any

import numpy as np

from multifocal.volumes import Geometry, Volume
from multifocal.volumes.formats.nifti import nifti_bytes

LEVELS = 4095  # of an image that is not whole numbers: finer than a screen shows, and a quarter of float32 on the disk


def nifti(array: np.ndarray, geometry: Geometry) -> tuple[bytes, float]:
    """Return a 3D array as a compressed NIfTI-1 file, masks as uint8, images as int16 with a scale; and that scale.

    Whole numbers are kept exactly, others to the nearest of 4096 levels between the least and the largest; NaN and inf
    become 0. The same array gives the same bytes.
    """
    values, slope, offset = _stored(array)
    data = nifti_bytes(Volume(values, replace(geometry, nifti=None)), slope=slope, intercept=offset)
    return gzip.compress(data, compresslevel=6, mtime=0), slope


def script(name: str, data: dict[str, Any]) -> str:
    """Return a script that sets the global `name`; bytes become base64, and no text can end the script."""
    text = json.dumps(data, default=lambda value: base64.b64encode(value).decode(), allow_nan=False)
    return f"window.{name} = {text};\n".replace("<", "\\u003c")


def _stored(array: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return what is written, and the scale and offset that take it back."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8), 1.0, 0.0
    values = np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if max(-low, high) <= np.iinfo(np.int16).max and (values == np.rint(values)).all():
        return values.astype("<i2"), 1.0, 0.0
    slope = float(np.float32((high - low) / LEVELS)) or 1.0
    return np.rint((values - low) / slope).astype("<i2"), slope, low
