"""Elastic displacement, rotation, scaling and flips as one spline field, and one reading of the images through it."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor

from multifocal.pipeline.augment.bspline import field, positions
from multifocal.pipeline.augment.parameters import Affine, Parameters
from multifocal.pipeline.augment.resample import background, linear, locate, nearest, pad

_SLAB = 2**16
"""Voxels in a slab."""
_FEWEST = 4
"""Control points along an axis that a cubic spline needs; enough for an affine map, which it then meets exactly."""


def move(
    images: Tensor, masks: Sequence[Tensor], *, parameters: Parameters, spacing: Sequence[float]
) -> tuple[Tensor, list[Tensor]]:
    """Change the geometry of images (C, *size), linearly interpolated, and masks (M, *size), nearest voxel, alike.

    Flips alone only reorder voxels. What comes from outside is the image's background (see `background`), and 0 in
    the masks.
    """
    axes = [axis + 1 for axis in parameters.flip]
    if parameters.elastic is None and parameters.affine is None:
        return (images.flip(axes), [mask.flip(axes) for mask in masks]) if axes else (images, list(masks))
    size = images.shape[1:]
    padded = pad(images, background(images))
    padded_masks = [flat for mask in masks for flat in pad(mask, mask.new_zeros(len(mask)))]
    moved, moved_masks = torch.empty_like(images), [torch.empty_like(mask) for mask in masks]
    for rows, coordinates in readings(parameters, size=size, spacing=spacing, device=images.device):
        sites = locate(coordinates, size)
        for channel, values in zip(moved, linear(padded, sites), strict=True):
            channel[rows] = values.reshape(-1, *size[1:])
        for channel, values in zip(chain(*moved_masks), nearest(padded_masks, sites), strict=True):
            channel[rows] = values.reshape(-1, *size[1:])
    return moved, moved_masks


def readings(
    parameters: Parameters, *, size: Sequence[int], spacing: Sequence[float], device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Yield slabs along the first axis: their rows, and where their voxels are read, float32 (ndim, rows, *size[1:]).

    With displacement d, affine map A about the centre and flip F, voxel x of the new image is read at F(A^-1(x + d(x)))
    of the old one: as if that were flipped first, then turned, then deformed. Cubic splines reproduce linear functions,
    so A^-1(x + d(x)) - x is itself a spline, with the control values A^-1(p + d) - p at the control points p: nothing
    is composed voxel by voxel. On the CPU a slab is small enough for its temporaries to stay in the cache.
    """
    displacement = field(_control(parameters, size=size, spacing=spacing).to(device), size)
    home = [torch.arange(n, dtype=torch.float32, device=device) for n in size]
    step = max(1, _SLAB // math.prod(size[1:])) if device.type == "cpu" else size[0]
    for start in range(0, size[0], step):
        rows = slice(start, min(start + step, size[0]))
        read = displacement.rows(rows.start, rows.stop)
        for axis, voxels in enumerate(home):
            if axis in parameters.flip:
                voxels = voxels.flip(0)
                read[axis].neg_()
            voxels = voxels[rows] if axis == 0 else voxels
            read[axis].add_(voxels.reshape(-1, *[1] * (len(size) - axis - 1)))
        yield rows, read


def _control(parameters: Parameters, *, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Return the displacements of the control points in voxels, float32 (ndim, *points); axes of one voxel rest."""
    ndim = len(size)
    step = torch.tensor(spacing, dtype=torch.float64).reshape(-1, *[1] * ndim)
    points = _FEWEST if parameters.elastic is None else parameters.elastic.shape[-1]
    lattice = torch.meshgrid(*(positions(n, points) - (n - 1) / 2 for n in size), indexing="ij")
    start = torch.stack(lattice) * step
    end = start if parameters.elastic is None else start + parameters.elastic
    if parameters.affine is not None:
        end = torch.linalg.solve(matrix(parameters.affine), end.flatten(1)).reshape(end.shape)
    resting = torch.tensor([n == 1 for n in size]).reshape(step.shape)
    return ((end - start) / step).masked_fill(resting, 0).to(torch.float32)


def matrix(affine: Affine) -> Tensor:
    """Return S Rz Rx Ry (in 2D: S R), float64 (ndim, ndim): rotate about y, x and z, then scale.

    Example:
        >>> matrix(Affine(angles=(0.0,), scales=(2.0, 1.0))).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    scales = torch.diag(torch.tensor(affine.scales, dtype=torch.float64))
    if len(affine.angles) == 1:
        return scales @ _rotation(affine.angles[0], plane=(0, 1), ndim=2)
    about_x, about_y, about_z = affine.angles
    turn_z, turn_x = _rotation(about_z, plane=(0, 1), ndim=3), _rotation(about_x, plane=(1, 2), ndim=3)
    return scales @ turn_z @ turn_x @ _rotation(about_y, plane=(2, 0), ndim=3)


def _rotation(angle: float, *, plane: tuple[int, int], ndim: int) -> Tensor:
    """Return the rotation that turns the first axis of the plane towards the second."""
    first, second = plane
    turn = torch.eye(ndim, dtype=torch.float64)
    cosine, sine = torch.tensor(angle, dtype=torch.float64).cos(), torch.tensor(angle, dtype=torch.float64).sin()
    turn[first, first] = turn[second, second] = cosine
    turn[second, first], turn[first, second] = sine, -sine
    return turn
