"""Volumes as a script: a page that is a file may not read the files beside it, but it may run them."""

import base64
import gzip
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np

from multifocal.reports.cases.case_images import CaseImages
from multifocal.reports.cases.pictures import window
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


def embedded(case: CaseImages, *, start: np.ndarray) -> dict[str, Any]:
    """Return what the viewer shows of a case: maps, true lesions and the masks of all arms.

    Args:
        case: a volume.
        start: numbered lesions, int32 (X, Y, Z): the viewer begins in the largest.

    Returns:
        What `script` writes.
    """
    images = []
    for name, image in case.images.items():
        low, high = window(image, case.brain)
        # Darker than everything inside, so that it is black in every map and clear in 3D.
        outside = math.floor(np.nanmin(image, where=np.isfinite(image) & case.brain, initial=0.0)) - 1.0
        data, step = nifti(np.where(case.brain, image, outside), case.geometry)
        images.append({"name": name, "low": low, "high": high, "outside": outside, "step": step, "data": data})
    masks = [
        {"name": arm, "data": None if mask is None else nifti(mask, case.geometry)[0]}
        for arm, mask in case.masks.items()
    ]
    return {"maps": images, "truth": nifti(case.truth, case.geometry)[0], "arms": masks, "start": _centre(start)}


def _centre(lesions: np.ndarray) -> list[float]:
    """Return where the viewer begins, as fractions of the axes: in the largest lesion, else in the middle."""
    sizes = np.bincount(lesions.ravel())[1:]
    if not sizes.size:
        return [0.5, 0.5, 0.5]
    voxels = np.argwhere(lesions == int(sizes.argmax()) + 1)
    middle = voxels[np.abs(voxels - voxels.mean(axis=0)).sum(axis=1).argmin()]
    return [float(place) for place in (middle + 0.5) / lesions.shape]


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
