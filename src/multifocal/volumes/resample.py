"""Values of a volume on another grid: interpolated, or copied where the grids share one lattice."""

from itertools import product
from typing import Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813

from multifocal.errors import unknown_name
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.rearrange import filled

Interpolation = Literal["nearest", "linear"]
_INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear}


def resample(volume: Volume, onto: Geometry, *, interpolation: Interpolation, fill: float = 0.0) -> Volume:
    """Interpolate a volume at the voxel centres of another grid.

    A point in the half voxel between the outer voxel centres and the image's edge takes the value at the edge, so
    images do not darken there; a point further out takes `fill`. "nearest" keeps the dtype. "linear" is for
    intensities and probabilities: whole numbers become float32 (float64 from 32 bits up).

    Args:
        volume: the image.
        onto: the grid of the result.
        interpolation: "nearest" or "linear".
        fill: value of voxels outside the image.

    Returns:
        The image on the grid `onto`.

    Raises:
        ValueError: an unknown interpolation, grids of different dimension, or a dtype that cannot hold `fill`.

    Example:
        >>> grid = Geometry((2, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> fine = Geometry((4, 1), (0.5, 1.0), (-0.25, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> resample(Volume(np.array([[0.0], [1.0]]), grid), fine, interpolation="linear").array.ravel().tolist()
        [0.0, 0.25, 0.75, 1.0]
    """
    _check_interpolation(interpolation)
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
    resampler.SetInterpolator(_INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(float(fill))
    working = Volume(volume.array.astype(_working(dtype, linear=linear), copy=False), volume.geometry)
    array = _to_array(resampler.Execute(to_image(working)))
    return Volume(array if linear else array.astype(dtype, copy=False), onto)


def restore(volume: Volume, onto: Geometry, *, interpolation: Interpolation, fill: float = 0) -> Volume:
    """Return the volume on the grid `onto`: voxels are copied where the grids share one lattice, else resampled.

    No log of what was done to the volume is needed, its geometry tells. After any chain of `orient`, `crop` and `pad`
    the two grids differ by a signed permutation of axes and a whole number of voxels; then values and dtype are kept
    exactly, and voxels of `onto` that the volume does not reach take `fill`. Voxel centres may be 1e-3 voxel apart
    anywhere on the grid and still count as the same. Otherwise see `resample`.

    Args:
        volume: the image.
        onto: the grid of the result.
        interpolation: "nearest" or "linear", where the grids share no lattice.
        fill: value of voxels outside the image.

    Returns:
        The image on the grid `onto`.

    Raises:
        ValueError: as `resample`, or the dtype cannot hold `fill`.

    Example:
        >>> home = Geometry((3, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> cropped_and_flipped = Geometry((2, 1), (1.0, 1.0), (2.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
        >>> image = Volume(np.array([[7], [8]]), cropped_and_flipped)
        >>> restore(image, home, interpolation="nearest").array.ravel().tolist()
        [0, 8, 7]
    """
    _check_interpolation(interpolation)
    lattice = _whole_voxel_map(volume.geometry, onto)
    if lattice is None:
        return resample(volume, onto, interpolation=interpolation, fill=fill)
    turn, offset = lattice
    order = [int(np.flatnonzero(row)[0]) for row in turn]  # which axis of the volume runs along each axis of `onto`
    signs = [int(turn[axis, source]) for axis, source in enumerate(order)]
    source = volume.array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    first = [o if sign > 0 else o - n + 1 for o, sign, n in zip(offset, signs, source.shape, strict=True)]
    array = filled(onto.size, fill, volume.array.dtype)
    start = [max(0, f) for f in first]
    stop = [max(s, min(n, f + m)) for s, n, f, m in zip(start, onto.size, first, source.shape, strict=True)]
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    array[inside] = source[tuple(slice(a - f, b - f) for a, b, f in zip(start, stop, first, strict=True))]
    return Volume(array, onto)


def to_image(volume: Volume) -> sitk.Image:
    """Copy a volume into a SimpleITK image (which indexes arrays backwards)."""
    array = volume.array.view(np.uint8) if volume.array.dtype.kind == "b" else volume.array
    image = sitk.GetImageFromArray(array.T.astype(array.dtype.newbyteorder("="), copy=False))
    image.SetSpacing(volume.geometry.spacing)
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    return image


def _check_interpolation(name: str) -> None:
    """Raise the error for an unknown interpolation."""
    if name not in _INTERPOLATORS:
        raise unknown_name("interpolation", name, _INTERPOLATORS)


def _to_array(image: sitk.Image) -> np.ndarray:
    """Copy the voxels of a SimpleITK image into a C-contiguous array in (x, y, z) order."""
    return np.array(sitk.GetArrayViewFromImage(image).T, order="C")


def _working(dtype: np.dtype, *, linear: bool) -> np.dtype:
    if dtype.kind == "f":
        return dtype if dtype.itemsize in (4, 8) else np.dtype(np.float32)
    if linear:
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype


def _whole_voxel_map(source: Geometry, target: Geometry) -> tuple[np.ndarray, list[int]] | None:
    """Return (signed permutation, offset) with target index = permutation · source index + offset, if there is one."""
    if source.ndim != target.ndim:
        return None
    exact = np.linalg.inv(target.affine) @ source.affine
    whole = np.rint(exact)
    turn = whole[:-1, :-1]
    if not (np.array_equal(np.abs(turn).sum(0), np.ones(source.ndim)) and abs(np.linalg.det(turn)) > 0.5):
        return None
    corners = np.array(list(product(*((0, n - 1) for n in source.size)))).T
    off = (exact - whole)[:-1] @ np.vstack([corners, np.ones(corners.shape[1])])
    return (turn, [int(o) for o in whole[:-1, -1]]) if np.abs(off).max() <= 1e-3 else None
