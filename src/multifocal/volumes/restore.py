"""The way home: put a volume back onto the grid it came from."""

from itertools import product

import numpy as np

from multifocal.volumes.crop import filled
from multifocal.volumes.geometry import Geometry
from multifocal.volumes.resample import Interpolation, check_interpolation, resample
from multifocal.volumes.volume import Volume


def restore(volume: Volume, onto: Geometry, *, interpolation: Interpolation, fill: float = 0) -> Volume:
    """Return the volume on the grid `onto`: voxels are copied where the grids share one lattice, else resampled.

    No log of what was done to the volume is needed, its geometry tells. After any chain of `orient`, `crop` and `pad`
    the two grids differ by a signed permutation of axes and a whole number of voxels; then values and dtype are kept
    exactly, and voxels of `onto` that the volume does not reach take `fill`. Voxel centres may be 1e-3 voxel apart
    anywhere on the grid and still count as the same. Otherwise see `resample`.

    Raises:
        ValueError: as `resample`, or the dtype cannot hold `fill`.

    Example:
        >>> home = Geometry((3, 1), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> cropped_and_flipped = Geometry((2, 1), (1.0, 1.0), (2.0, 0.0), (-1.0, 0.0, 0.0, 1.0))
        >>> image = Volume(np.array([[7], [8]]), cropped_and_flipped)
        >>> restore(image, home, interpolation="nearest").array.ravel().tolist()
        [0, 8, 7]
    """
    check_interpolation(interpolation)
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
