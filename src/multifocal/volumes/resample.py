"""Values of a volume on another grid."""

from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813

from multifocal.errors import unknown_name
from multifocal.volumes.crop import filled
from multifocal.volumes.geometry import Geometry
from multifocal.volumes.volume import Volume

Interpolation = Literal["nearest", "linear"]
INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear}


def resample(volume: Volume, onto: Geometry, *, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Interpolate a volume at the voxel centres of another grid.

    A point in the half voxel between the outer voxel centres and the image's edge takes the value at the edge, so
    images do not darken there; a point further out takes `fill`. "nearest" keeps the dtype. "linear" is for
    intensities and probabilities: whole numbers become float32 (float64 from 32 bits up).

    Raises:
        ValueError: an unknown interpolation, grids of different dimension, or a dtype that cannot hold `fill`.

    Example:
        >>> grid = Geometry((2, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> fine = Geometry((4, 1), (0.5, 1.0), (-0.25, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> resample(Volume(np.array([[0.0], [1.0]]), grid), fine, interpolation="linear").array.ravel().tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    check_interpolation(interpolation)
    if onto.ndim != volume.geometry.ndim:
        raise ValueError(f"cannot resample a {volume.geometry.ndim}D volume onto a {onto.ndim}D grid")
    dtype = volume.array.dtype
    linear = interpolation == "linear"
    if not linear:
        filled((), fill, dtype)  # refuses what the dtype cannot hold
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(onto.size)
    resampler.SetOutputSpacing(onto.spacing)
    resampler.SetOutputOrigin(onto.origin)
    resampler.SetOutputDirection(onto.direction)
    resampler.SetInterpolator(INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(float(fill))
    working = Volume(volume.array.astype(_working(dtype, linear=linear), copy=False), volume.geometry)
    array = to_array(resampler.Execute(to_image(working)))
    return Volume(array if linear else array.astype(dtype, copy=False), onto)


def check_interpolation(name: str) -> None:
    """Raise the error for an unknown interpolation."""
    if name not in INTERPOLATORS:
        raise unknown_name("interpolation", name, INTERPOLATORS)


def to_image(volume: Volume) -> sitk.Image:
    """Copy a volume into a SimpleITK image (which indexes arrays backwards)."""
    array = volume.array.view(np.uint8) if volume.array.dtype.kind == "b" else volume.array
    image = sitk.GetImageFromArray(array.T.astype(array.dtype.newbyteorder("="), copy=False))
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    return image


def to_array(image: sitk.Image) -> np.ndarray:
    """Copy the voxels of a SimpleITK image into a C-contiguous array in (x, y, z) order."""
    return np.array(sitk.GetArrayViewFromImage(image).T, order="C")


def _working(dtype: np.dtype, *, linear: bool) -> np.dtype:
    if dtype.kind == "f":
        return dtype if dtype.itemsize in (4, 8) else np.dtype(np.float32)
    if linear:
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype
