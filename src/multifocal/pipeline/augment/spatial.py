"""Elastic displacement, rotation, scaling, shift and flips as one spline field, and one reading through it.

Quarter turns come last, and only reorder voxels.

The field is a cubic B-spline on a coarse lattice of control points, evaluated at every voxel. For the reading the cells
are found once and serve every channel and the masks alike.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import torch
from torch import Tensor

from multifocal.pipeline.augment.sampling import DrawnAffine, DrawnTurns, Parameters

_SLAB = 2**16
"""Voxels in a slab."""
_FEWEST = 4
"""Control points along an axis that a cubic spline needs; enough for an affine map, which it then meets exactly."""
_MARGIN = 0.125
"""ITK's spline domain reaches this many voxels beyond the outer edges of the image."""
_STEPS = 8
"""Of the search for the new place of a voxel."""
_BEFORE, _LAYERS = 1, 3
"""Voxels of fill before the image along each axis, and in all: one cell outside either end can be read."""


def warp(
    images: Tensor, masks: Sequence[Tensor], *, parameters: Parameters, spacing: Sequence[float]
) -> tuple[Tensor, list[Tensor]]:
    """Change the geometry of images (C, *size), linearly interpolated, and masks (M, *size), nearest voxel, alike.

    Flips and quarter turns alone only reorder voxels. What comes from outside is the background, the lower median of
    the image's corners, and 0 in the masks.

    Args:
        images: (C, *size), float32.
        masks: each (M, *size), any dtype.
        parameters: what was drawn.
        spacing: size of a voxel in mm along each axis.

    Returns:
        Images and masks of the same types, and of the same shapes but for quarter turns.

    Example:
        >>> warp(torch.tensor([[[1.0, 2.0]]]), [], parameters=Parameters(flip=(1,)), spacing=(1.0, 1.0))
        (tensor([[[2., 1.]]]), [])
    """
    axes = [axis + 1 for axis in parameters.flip]
    if parameters.elastic is None and parameters.affine is None:
        moved, others = (images.flip(axes), [mask.flip(axes) for mask in masks]) if axes else (images, list(masks))
    else:
        slabs = sampling_coordinates(parameters, size=images.shape[1:], spacing=spacing, device=images.device)
        moved, others = read_slabs(images, masks, background(images), slabs, images.shape[1:])
    return turn(moved, parameters), [turn(mask, parameters) for mask in others]


def turn(images: Tensor, parameters: Parameters) -> Tensor:
    """Return images after the quarter turns that were drawn.

    Args:
        images: (C, *size).
        parameters: what was drawn.

    Returns:
        The images, with the sizes of the turned axes exchanged by an odd number of turns.

    Example:
        >>> turns = Parameters(quarter_turns=DrawnTurns(plane=(0, 1), count=1))
        >>> turn(torch.tensor([[[1, 2, 3]]]), turns).tolist()
        [[[3], [2], [1]]]
    """
    drawn = parameters.quarter_turns
    return images if drawn is None else images.rot90(drawn.count, [axis + 1 for axis in drawn.plane])


def turned_size(size: Sequence[int], parameters: Parameters) -> tuple[int, ...]:
    """Return the size of a changed image.

    Args:
        size: of the old one.
        parameters: what was drawn.

    Returns:
        Its size.

    Example:
        >>> turned_size((4, 6, 8), Parameters(quarter_turns=DrawnTurns(plane=(0, 2), count=3)))
        (8, 6, 4)
    """
    return turned_place([0] * len(size), size, parameters.quarter_turns)[1]


def turned_place(
    voxel: Sequence[int], size: Sequence[int], turns: DrawnTurns | None, *, back: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where a voxel is after quarter turns.

    Args:
        voxel: its place.
        size: of the image.
        turns: what was drawn.
        back: the other way round: of a turned image, where it was before.

    Returns:
        Its new place, and the image's new size.

    Example:
        >>> turned_place((0, 2), (1, 3), DrawnTurns(plane=(0, 1), count=1))
        ((0, 0), (3, 1))
    """
    place, sizes = list(voxel), list(size)
    if turns is not None:
        first, second = turns.plane
        for _ in range(4 - turns.count if back else turns.count):
            place[first], place[second] = sizes[second] - 1 - place[second], place[first]
            sizes[first], sizes[second] = sizes[second], sizes[first]
    return tuple(place), tuple(sizes)


def read_slabs(
    images: Tensor,
    masks: Sequence[Tensor],
    fill: Tensor,
    slabs: Iterable[tuple[slice, Tensor]],
    shape: Sequence[int],
) -> tuple[Tensor, list[Tensor]]:
    """Read images and masks at coordinates.

    Args:
        images: (C, *size), read by linear interpolation.
        masks: each (M, *size), read at the nearest voxel.
        fill: what lies around each image, (C,); around masks it is 0.
        slabs: rows of the result, and where to read them, (ndim, rows, *shape[1:]) in voxels; they are overwritten.
        shape: of the result, whose rows the slabs are.

    Returns:
        Images (C, *shape) and masks, each (M, *shape).

    Example:
        >>> where = torch.tensor([[[0.0, 0.0]], [[0.5, 9.0]]])
        >>> read_slabs(torch.tensor([[[1.0, 2.0]]]), [], torch.tensor([7.0]), [(slice(0, 1), where)], (1, 2))[0]
        tensor([[[1.5000, 7.0000]]])
    """
    size = images.shape[1:]
    padded = pad_with_fill(images, fill)
    padded_masks = [flat for mask in masks for flat in pad_with_fill(mask, mask.new_zeros(len(mask)))]
    moved = images.new_empty(len(images), *shape)
    moved_masks = [mask.new_empty(len(mask), *shape) for mask in masks]
    for rows, coordinates in slabs:
        sites = locate(coordinates, size)
        for channel, values in zip(moved, read_linear(padded, sites), strict=True):
            channel[rows] = values.reshape(-1, *shape[1:])
        for channel, values in zip(chain(*moved_masks), read_nearest(padded_masks, sites), strict=True):
            channel[rows] = values.reshape(-1, *shape[1:])
    return moved, moved_masks


def sampling_coordinates(
    parameters: Parameters,
    *,
    size: Sequence[int],
    spacing: Sequence[float],
    device: torch.device,
    region: Sequence[slice] | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield where the voxels of a changed image are read in the old one, slab by slab along the first axis.

    With displacement d, affine map A about the centre (with its shift) and flip F, voxel x of the new image is read at
    F(A^-1(x + d(x))) of the old one: as if that were flipped first, then turned and shifted, then deformed. Cubic
    splines reproduce linear functions,
    so A^-1(x + d(x)) - x is itself a spline, with the control values A^-1(p + d) - p at the control points p: nothing
    is composed voxel by voxel. On the CPU a slab is small enough for its temporaries to stay in the cache.

    Args:
        parameters: what was drawn.
        size: voxels along each axis.
        spacing: size of a voxel in mm along each axis.
        device: where to compute.
        region: the part of the new image that is wanted, a slice (start, stop) an axis; None means all of it.

    Yields:
        tuple[slice, Tensor]: the slab's rows, counted from the region's first, and coordinates in voxels of the whole
            image, float32 (ndim, rows, *region[1:]).
    """
    region = [slice(0, n) for n in size] if region is None else region
    shape = [part.stop - part.start for part in region]
    displacement = spline_field(control_values(parameters, size=size, spacing=spacing).to(device), size, region)
    home = [torch.arange(n, dtype=torch.float32, device=device) for n in size]
    step = max(1, _SLAB // math.prod(shape[1:])) if device.type == "cpu" else shape[0]
    for start in range(0, shape[0], step):
        rows = slice(start, min(start + step, shape[0]))
        read = displacement.rows(rows.start, rows.stop)
        for axis, voxels in enumerate(home):
            if axis in parameters.flip:
                voxels = voxels.flip(0)
                read[axis].neg_()
            voxels = voxels[region[axis]]
            voxels = voxels[rows] if axis == 0 else voxels
            read[axis].add_(voxels.reshape(-1, *[1] * (len(size) - axis - 1)))
        yield rows, read


def new_place(
    voxel: Sequence[int], parameters: Parameters, *, size: Sequence[int], spacing: Sequence[float]
) -> tuple[int, ...]:
    """Return where a voxel of the old image is in the changed one: `sampling_coordinates` the other way round.

    It is the x with A^-1(x + d(x)) = F(voxel). But for the elastic part the left side is A^-1(x), so that
    x <- x + A(F(voxel) - A^-1(x + d(x))) closes in on it as long as the displacement does not fold the image.

    Args:
        voxel: its place.
        parameters: what was drawn.
        size: voxels along each axis.
        spacing: size of a voxel in mm along each axis.

    Returns:
        The nearest voxel, perhaps outside the image.

    Example:
        >>> new_place((1, 2), Parameters(flip=(0,)), size=(8, 8), spacing=(1.0, 1.0))
        (6, 2)
    """
    flipped = [n - 1 - v if axis in parameters.flip else v for axis, (v, n) in enumerate(zip(voxel, size, strict=True))]
    if parameters.elastic is None and parameters.affine is None:
        return turned_place(flipped, size, parameters.quarter_turns)[0]
    wanted = torch.tensor(flipped, dtype=torch.float64)
    control = control_values(parameters, size=size, spacing=spacing).double()
    ahead = torch.eye(len(size), dtype=torch.float64)
    if parameters.affine is not None:  # from voxels to mm, and back
        step = torch.tensor(spacing, dtype=torch.float64)
        ahead = affine_matrix(parameters.affine) * step / step[:, None]
    place = wanted.clone()
    for _ in range(_STEPS):
        read = control
        for x, n, points in zip(place.flip(0), size[::-1], list(control.shape[1:])[::-1], strict=True):
            read = read @ spline_weights(x[None], n, points)[0]
        place += ahead @ (wanted - place - read)
    return turned_place(place.round().int().tolist(), size, parameters.quarter_turns)[0]


def affine_matrix(affine: DrawnAffine) -> Tensor:
    """Return S Rz Rx Ry (in 2D: S R), float64 (ndim, ndim): rotate about y, x and z, then scale.

    Args:
        affine: what was drawn.

    Returns:
        The matrix.

    Example:
        >>> affine_matrix(DrawnAffine(angles=(0.0,), scales=(2.0, 1.0))).tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    scales = torch.diag(torch.tensor(affine.scales, dtype=torch.float64))
    if len(affine.angles) == 1:
        return scales @ _rotation(affine.angles[0], plane=(0, 1), ndim=2)
    about_x, about_y, about_z = affine.angles
    turn_z, turn_x = _rotation(about_z, plane=(0, 1), ndim=3), _rotation(about_x, plane=(1, 2), ndim=3)
    return scales @ turn_z @ turn_x @ _rotation(about_y, plane=(2, 0), ndim=3)


def control_positions(size: int, points: int) -> Tensor:
    """Return where the control points lie along an axis of `size` voxels, in voxels (float64, `points` values).

    One lies a step outside the domain at either end; the step is (size + 0.25) / (points - 3).

    Args:
        size: voxels along the axis.
        points: control points along it.

    Returns:
        float64 (points,).

    Example:
        >>> control_positions(8, 4).tolist()
        [-8.875, -0.625, 7.625, 15.875]
    """
    step = (size + 2 * _MARGIN) / (points - 3)
    return torch.arange(-1, points - 1, dtype=torch.float64) * step - 0.5 - _MARGIN


@lru_cache(maxsize=64)
def spline_basis(size: int, points: int, device: torch.device) -> Tensor:
    """Return the (size, points) matrix whose product with coefficients is the spline at voxels 0 ... size - 1.

    Args:
        size: voxels along the axis.
        points: control points along it.
        device: where the matrix is to lie.

    Returns:
        float32.

    Example:
        >>> matrix = spline_basis(10, 7, torch.device("cpu"))
        >>> bool(torch.allclose(matrix.sum(dim=1), torch.ones(10)))
        True
    """
    values = spline_weights(torch.arange(size, dtype=torch.float64), size, points)
    return values.to(torch.float32).to(device)


def spline_weights(places: Tensor, size: int, points: int) -> Tensor:
    """Return what each control point counts at some places along an axis of `size` voxels.

    Args:
        places: float64 (N,), in voxels.
        size: voxels along the axis.
        points: control points along it.

    Returns:
        float64 (N, points).

    Example:
        >>> round(spline_weights(torch.tensor([1.5], dtype=torch.float64), 4, 4).sum().item(), 9)
        1.0
    """
    where = control_positions(size, points)
    distance = (places[:, None] - where).abs() / (where[1] - where[0])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


@dataclass(frozen=True)
class SplineField:
    """K spline fields, evaluated along all axes but the first.

    Attributes:
        partial: (K, points, prod(shape[1:])).
        shape: of the part of the grid that they are wanted on.
        basis: of the first axis, (shape[0], points).
    """

    partial: Tensor
    shape: tuple[int, ...]
    basis: Tensor

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the fields at some rows of the first axis.

        Args:
            start: first row.
            stop: the row after the last.

        Returns:
            (K, stop - start, *shape[1:]).
        """
        return (self.basis[start:stop] @ self.partial).reshape(len(self.partial), stop - start, *self.shape[1:])


def spline_field(coefficients: Tensor, size: Sequence[int], region: Sequence[slice] | None = None) -> SplineField:
    """Return the cubic B-spline fields of coefficients on a grid of voxels.

    The sum over control points i of c_i prod_a B3(x_a - i_a) is separable (Rueckert et al., IEEE TMI 18:712, 1999):
    one small matrix product an axis.

    Args:
        coefficients: (K, *points).
        size: voxels along each axis.
        region: the part of the grid that is wanted, a slice (start, stop) an axis; None means all of it.

    Returns:
        The fields, whose last step is taken for the rows one asks for.

    Source:
        Rueckert et al., IEEE TMI 18:712 (1999).

    Example:
        >>> spline_field(torch.ones(1, 4, 4), (3, 5)).rows(0, 2).shape
        torch.Size([1, 2, 5])
    """
    region = [slice(0, n) for n in size] if region is None else region
    points = coefficients.shape[1:]
    bases = [spline_basis(n, p, coefficients.device)[part] for n, p, part in zip(size, points, region, strict=True)]
    partial = coefficients
    for axis in range(len(size) - 1, 0, -1):
        matrix = bases[axis]
        partial = matrix @ partial.reshape(coefficients.shape[: axis + 1].numel(), matrix.shape[1], -1)
    shape = tuple(part.stop - part.start for part in region)
    return SplineField(partial=partial.reshape(*coefficients.shape[:2], -1), shape=shape, basis=bases[0])


@dataclass(frozen=True)
class Sites:
    """Where to read in images that were padded with a fill.

    Attributes:
        corner: flat index of each cell's lower corner, int32 (N,).
        fractions: places within the cells along each axis, float32 (ndim, N) in [0, 1).
        strides: steps of the flat index along each axis.
    """

    corner: Tensor
    fractions: Tensor
    strides: tuple[int, ...]


def locate(coordinates: Tensor, size: Sequence[int]) -> Sites:
    """Find the cells in which coordinates lie.

    Args:
        coordinates: (ndim, ...), in voxels; they are overwritten.
        size: voxels of the image along each axis.

    Returns:
        The cells, and the places within them.
    """
    strides = tuple(math.prod(n + _LAYERS for n in size[axis + 1 :]) for axis in range(len(size)))
    places = coordinates.flatten(1).add_(_BEFORE)
    corner = torch.zeros(places.shape[1], dtype=torch.int32, device=places.device)
    for place, n, stride in zip(places, size, strides, strict=True):
        corner.add_(place.clamp_(0, n + _BEFORE).int(), alpha=stride)
    return Sites(corner=corner, fractions=places.frac_(), strides=strides)


def pad_with_fill(images: Tensor, fill: Tensor) -> Tensor:
    """Return images within layers of their fill, flat.

    Args:
        images: (C, *size).
        fill: the value around each channel, (C,).

    Returns:
        (C, voxels).
    """
    size = images.shape[1:]
    padded = images.new_empty(len(images), *(n + _LAYERS for n in size))
    padded.copy_(fill.reshape(-1, *[1] * len(size)))
    inside = padded
    for axis, n in enumerate(size, start=1):
        inside = inside.narrow(axis, _BEFORE, n)
    inside.copy_(images)
    return padded.flatten(1)


def background(images: Tensor) -> Tensor:
    """Return each channel's value outside the scanned object, (C,): the lower median of the image's corners.

    Args:
        images: (C, *size).

    Returns:
        (C,).

    Example:
        >>> image = torch.full((1, 5, 5), -0.5)
        >>> image[0, 1:4, 1:4] = 1.0
        >>> background(image)
        tensor([-0.5000])
    """
    corners = images
    for axis in range(1, images.ndim):
        corners = torch.stack([corners.select(axis, 0), corners.select(axis, -1)], dim=axis)
    return corners.flatten(1).median(dim=1).values


def read_linear(padded: Tensor, sites: Sites) -> Iterator[Tensor]:
    """Interpolate padded images linearly.

    Args:
        padded: (C, voxels).
        sites: where to read.

    Yields:
        Tensor: each channel at the sites, (N,).
    """
    corner = sites.corner.long()

    def between(flat: Tensor, axis: int, offset: int) -> Tensor:
        # Interpolate between the corners of each cell along `axis` and all later axes.
        if axis == len(sites.strides):
            return flat[offset:].index_select(0, corner)
        low = between(flat, axis + 1, offset)
        return low.lerp_(between(flat, axis + 1, offset + sites.strides[axis]), sites.fractions[axis])

    for flat in padded:
        yield between(flat, 0, 0)


def read_nearest(padded: Sequence[Tensor], sites: Sites) -> Iterator[Tensor]:
    """Read padded masks at the nearest voxel (at ties the upper).

    Args:
        padded: each (voxels,), any dtype.
        sites: where to read.

    Yields:
        Tensor: each mask at the sites, (N,).
    """
    index = sites.corner.clone()
    for fraction, stride in zip(sites.fractions, sites.strides, strict=True):
        index.add_((fraction + 0.5).int(), alpha=stride)
    index = index.long()
    for flat in padded:
        yield flat.index_select(0, index)


def control_values(parameters: Parameters, *, size: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Return the displacements of the control points, by which coordinates are read (see `sampling_coordinates`).

    Args:
        parameters: what was drawn.
        size: voxels along each axis.
        spacing: size of a voxel in mm along each axis.

    Returns:
        In voxels, float32 (ndim, *points); axes of one voxel rest.

    Example:
        >>> control_values(Parameters(), size=(8, 8), spacing=(1.0, 1.0)).shape
        torch.Size([2, 4, 4])
    """
    ndim = len(size)
    step = torch.tensor(spacing, dtype=torch.float64).reshape(-1, *[1] * ndim)
    points = _FEWEST if parameters.elastic is None else parameters.elastic.shape[-1]
    lattice = torch.meshgrid(*(control_positions(n, points) - (n - 1) / 2 for n in size), indexing="ij")
    start = torch.stack(lattice) * step
    end = start if parameters.elastic is None else start + parameters.elastic
    if parameters.affine is not None:
        if parameters.affine.translations:
            end = end - torch.tensor(parameters.affine.translations, dtype=torch.float64).reshape(step.shape) * step
        end = torch.linalg.solve(affine_matrix(parameters.affine), end.flatten(1)).reshape(end.shape)
    resting = torch.tensor([n == 1 for n in size]).reshape(step.shape)
    return ((end - start) / step).masked_fill(resting, 0).to(torch.float32)


def _rotation(angle: float, *, plane: tuple[int, int], ndim: int) -> Tensor:
    """Return the rotation that turns the first axis of the plane towards the second."""
    first, second = plane
    turn = torch.eye(ndim, dtype=torch.float64)
    cosine, sine = torch.tensor(angle, dtype=torch.float64).cos(), torch.tensor(angle, dtype=torch.float64).sin()
    turn[first, first] = turn[second, second] = cosine
    turn[second, first], turn[first, second] = sine, -sine
    return turn
