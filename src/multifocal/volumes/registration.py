"""Where each point of one brain lies in another: an affine map, then demons, with lesions left out of the force."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import ndimage

from multifocal.config import Config
from multifocal.errors import UserError
from multifocal.volumes.geometry import Geometry, Volume
from multifocal.volumes.resample import to_image

Iterations = Annotated[int, Field(ge=0)]
_BURST = 5  # iterations of demons between two looks at where the lesions have moved
_LEAST = 4  # voxels along an axis below which an image is not made coarser: demons take derivatives


class RegistrationSettings(Config):
    """How long to look for the map, and how smooth it is.

    Args:
        affine_iterations: gradient steps of the affine map at each of two levels, of a quarter and half the resolution;
            0 stays with the moments of the two brains.
        demons_iterations: at each of three levels, a quarter, half and full resolution; 0 leaves displacements out.
        smooth: standard deviation of the Gaussian over the displacements, in voxels.

    Example:
        >>> RegistrationSettings().demons_iterations
        30
    """

    affine_iterations: Iterations = 50
    demons_iterations: Iterations = 30
    smooth: Annotated[float, Field(gt=0)] = 1.5


@dataclass(frozen=True, eq=False)
class Registration:
    """A map from the points x of a fixed image into a moving one, both in mm: `T(x) = A (x + u(x)) + t`.

    Args:
        affine: float64 `(n, n + 1)`, the matrix A and, in the last column, the translation t.
        displacement: u on the fixed image's grid, float32 `(*spatial, n)`, in mm; 0 outside of it.
        fixed: the fixed image's grid.

    Example:
        >>> grid = Geometry((4, 3), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> shift = Registration(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), np.zeros((4, 3, 2), np.float32), grid)
        >>> image = Volume(np.arange(12, dtype=np.float32).reshape(4, 3), grid)
        >>> shift.pull(image, grid, fill=-1.0).array[:, 0].tolist()
        [3.0, 6.0, 9.0, -1.0]
    """

    affine: np.ndarray
    displacement: np.ndarray
    fixed: Geometry

    def pull(self, moving: Volume, onto: Geometry, *, nearest: bool = False, fill: float = 0.0) -> Volume:
        """Return an image of the moving brain at the points of a grid in the fixed brain's space.

        Args:
            moving: the image, on any grid.
            onto: the grid of the result, which need not be the fixed image's.
            nearest: the value of the nearest voxel, for labels, instead of a linear interpolation.
            fill: value of points that lie outside the moving image.

        Returns:
            The image, float32.
        """
        composite = sitk.CompositeTransform(self.fixed.ndim)
        composite.AddTransform(_affine(self.affine))
        if self.displacement.any():
            composite.AddTransform(_field(self.displacement, self.fixed))  # what is added last comes first
        image = to_image(Volume(moving.array.astype(np.float32), moving.geometry))
        target = to_image(Volume(np.zeros(onto.size, np.uint8), onto))
        found = _resampled(image, target, composite, nearest=nearest, fill=fill)
        return Volume(np.array(sitk.GetArrayViewFromImage(found).T, order="C"), onto)

    def points(self, onto: Geometry) -> np.ndarray:
        """Return where the voxels of a grid in the fixed brain's space lie in the moving one.

        Args:
            onto: the grid; where it leaves the fixed image's, the displacement is the nearest one's.

        Returns:
            float64 `(*spatial, n)`, in mm.

        Example:
            >>> grid = Geometry((2, 1), (2.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
            >>> Registration(np.eye(2, 3), np.ones((2, 1, 2), np.float32), grid).points(grid)[:, 0].tolist()
            [[1.0, 1.0], [3.0, 1.0]]
        """
        indices = np.moveaxis(np.indices(onto.size), 0, -1)
        here = indices @ onto.affine[:-1, :-1].T + onto.affine[:-1, -1]
        at = np.moveaxis(self.fixed.indices(here), -1, 0)
        moved = [
            ndimage.map_coordinates(self.displacement[..., axis], at, order=1, mode="nearest")
            for axis in range(onto.ndim)
        ]
        return (here + np.stack(moved, -1)) @ self.affine[:, :-1].T + self.affine[:, -1]


def by_moments(brain: Volume, centre: ArrayLike, spread: ArrayLike) -> np.ndarray:
    """Return the affine map that takes a standard brain onto this one: its centre, and along each axis its spread.

    `A = diag(σ / spread)`, `t = c - A · centre`, with the mean c and the standard deviations σ of the brain's voxels.

    Args:
        brain: bool `(*spatial)`.
        centre: of the standard brain, in mm.
        spread: of the standard brain along the axes of space, in mm.

    Returns:
        float64 `(n, n + 1)`.

    Raises:
        ValueError: the brain is empty, or flat along an axis.

    Example:
        >>> grid = Geometry((6, 4), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> by_moments(Volume(np.ones((6, 4), bool), grid), (0.0, 0.0), moments(Volume(np.ones((6, 4)), grid))[1])
        array([[1. , 0. , 2.5],
               [0. , 1. , 1.5]])
    """
    mean, deviation = moments(brain)
    scale = deviation / np.asarray(spread, float)
    return np.column_stack([np.diag(scale), mean - scale * np.asarray(centre, float)])


def moments(brain: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of a brain and its standard deviations along the axes of space.

    Args:
        brain: `(*spatial)`; where it is not 0.

    Returns:
        Both float64 `(n,)`, in mm.

    Raises:
        ValueError: the brain is empty, or flat along an axis.

    Example:
        >>> grid = Geometry((2, 2), (2.0, 4.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> [part.tolist() for part in moments(Volume(np.ones((2, 2)), grid))]
        [[1.0, 2.0], [1.0, 2.0]]
    """
    indices = np.argwhere(brain.array)
    if not len(indices):
        raise ValueError("the brain is empty; expected a voxel that is not 0")
    affine = brain.geometry.affine
    points = indices @ affine[:-1, :-1].T + affine[:-1, -1]
    deviation = points.std(0)
    if not (deviation > 0).all():
        raise ValueError("the brain is flat along an axis; expected two voxels or more along each")
    return points.mean(0), deviation


def register(
    fixed: Volume,
    moving: Volume,
    settings: RegistrationSettings,
    *,
    fixed_lesion: np.ndarray | None = None,
    moving_lesion: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> Registration:
    """Return where each point of a fixed brain lies in a moving one.

    The moments of both brains first, then the affine map of best correlation, then demons at three levels. Lesions are
    in neither measure: they are left out of the correlation, and where one lies nothing pulls, for there the fixed
    image takes the value of the moving one, as it is warped by then. One thread computes, so that the result is the
    same everywhere.

    Args:
        fixed: an image that is 0 outside the brain, float `(*spatial)`.
        moving: likewise, on a grid of its own, of comparable values.
        settings: how long, and how smooth.
        fixed_lesion: bool, where lesion is in the fixed image; None for nowhere.
        moving_lesion: likewise in the moving image.
        start: an affine map to begin with, as of an earlier round, instead of the moments.

    Returns:
        The map.

    Raises:
        ValueError: an image has no brain, or a flat one.
        UserError: SimpleITK finds no map, such as where two brains do not overlap.

    Source:
        Thirion 1998, Image matching as a diffusion process; fast symmetric forces: Vercauteren et al. 2007. Lesions are
        masked as by UNEImage in BONBID-HIE 2023 (supplement, S8).

    Example:
        >>> grid = Geometry((9, 9, 9), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
        >>> ball = (np.square(np.indices((9, 9, 9)) - 4.0).sum(0) < 12).astype(np.float32)
        >>> moved = Geometry((9, 9, 9), (2.0, 2.0, 2.0), (6.0, 0.0, 0.0), grid.direction)
        >>> found = register(Volume(ball, grid), Volume(ball, moved), RegistrationSettings(affine_iterations=0))
        >>> found.affine[:, -1].round(6).tolist()
        [6.0, 0.0, 0.0]
    """
    affine = start
    if affine is None:
        affine = by_moments(Volume(moving.array != 0, moving.geometry), *moments(fixed))
    nowhere = np.zeros(fixed.array.shape, np.uint8)
    lesion = Volume(nowhere if fixed_lesion is None else fixed_lesion.astype(np.uint8), fixed.geometry)
    other = Volume(
        np.zeros(moving.array.shape, np.uint8) if moving_lesion is None else moving_lesion.astype(np.uint8),
        moving.geometry,
    )
    try:
        if settings.affine_iterations:
            affine = _best_affine(fixed, moving, lesion, other, affine, settings.affine_iterations)
        field = np.zeros((*fixed.array.shape, fixed.geometry.ndim), np.float32)
        if settings.demons_iterations:
            field = _demons(fixed, moving, lesion, other, affine, settings)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"two brains could not be registered ({reason}); check that both are brains") from error
    found = Registration(affine, field, fixed.geometry)
    if not (found.pull(moving, fixed.geometry).array * fixed.array).any():
        raise UserError("two brains could not be registered (they do not overlap); check that both are brains")
    return found


def _best_affine(
    fixed: Volume, moving: Volume, lesion: Volume, other: Volume, start: np.ndarray, iterations: int
) -> np.ndarray:
    transform = _affine(start, centre=moments(fixed)[0])
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.NONE)
    # What lies around the brain counts, too: within it alone, a map that leaves most of it out may correlate best.
    if lesion.array.any():
        method.SetMetricFixedMask(to_image(Volume((lesion.array == 0).astype(np.uint8), fixed.geometry)))
    if other.array.any():
        method.SetMetricMovingMask(to_image(Volume((other.array == 0).astype(np.uint8), moving.geometry)))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=1e-3, numberOfIterations=iterations, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2])
    method.SetSmoothingSigmasPerLevel([2.0, 1.0])
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(to_image(_single(fixed)), to_image(_single(moving)))
    ndim = fixed.geometry.ndim
    matrix = np.array(transform.GetMatrix()).reshape(ndim, ndim)
    centre, translation = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    return np.column_stack([matrix, translation + centre - matrix @ centre])


def _demons(
    fixed: Volume, moving: Volume, lesion: Volume, other: Volume, affine: np.ndarray, settings: RegistrationSettings
) -> np.ndarray:
    target, turned = to_image(_single(fixed)), _affine(affine)
    source = _resampled(to_image(_single(moving)), target, turned)
    hidden, hidden_there = to_image(lesion), _resampled(to_image(other), target, turned, nearest=True)
    # Filled in before they are made coarser, or lesions would darken what lies around them.
    target = _where(hidden, source, target)
    source = _where(hidden_there, target, source)
    ndim = fixed.geometry.ndim
    field = sitk.Image(target.GetSize(), sitk.sitkVectorFloat64, ndim)
    field.CopyInformation(target)
    for shrink in (4, 2, 1):
        factors = [shrink if size // shrink >= _LEAST else 1 for size in target.GetSize()]
        here, there = (sitk.Shrink(_smoothed(image, factors), factors) for image in (target, source))
        near, far = (sitk.Shrink(image, factors) for image in (hidden, hidden_there))
        field = _resampled(field, here, sitk.Transform(ndim, sitk.sitkIdentity))
        left = settings.demons_iterations
        while left > 0:
            moved = sitk.DisplacementFieldTransform(sitk.Image(field))  # which takes its image over
            without = sitk.Or(near, _resampled(far, here, moved, nearest=True)) > 0
            demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
            demons.SetNumberOfThreads(1)
            demons.SetNumberOfIterations(min(left, _BURST))
            demons.SetSmoothDisplacementField(True)
            demons.SetStandardDeviations(settings.smooth)
            same = _resampled(there, here, moved)
            field = demons.Execute(_where(without, same, here), there, field)
            left -= _BURST
    whole = _resampled(field, target, sitk.Transform(ndim, sitk.sitkIdentity))
    return np.ascontiguousarray(np.moveaxis(sitk.GetArrayViewFromImage(whole).T, 0, -1), np.float32)


def _where(mask: sitk.Image, inside: sitk.Image, outside: sitk.Image) -> sitk.Image:
    return sitk.Mask(inside, mask != 0) + sitk.Mask(outside, mask == 0)


def _smoothed(image: sitk.Image, factors: Sequence[int]) -> sitk.Image:
    """Return an image without what a coarser grid cannot hold; an axis that keeps its voxels stays as it is."""
    spacing = image.GetSpacing()
    variance = [
        (0.5 * factor * length) ** 2 if factor > 1 else 0.0 for factor, length in zip(factors, spacing, strict=True)
    ]
    return sitk.DiscreteGaussian(image, variance)


def _resampled(
    image: sitk.Image, onto: sitk.Image, transform: sitk.Transform, *, nearest: bool = False, fill: float = 0.0
) -> sitk.Image:
    resampler = sitk.ResampleImageFilter()
    resampler.SetReferenceImage(onto)
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    resampler.SetDefaultPixelValue(fill)
    return resampler.Execute(image)


def _affine(affine: np.ndarray, *, centre: np.ndarray | None = None) -> sitk.AffineTransform:
    ndim = len(affine)
    transform, matrix = sitk.AffineTransform(ndim), affine[:, :-1]
    middle = np.zeros(ndim) if centre is None else centre
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(matrix.ravel().tolist())
    transform.SetTranslation((affine[:, -1] - middle + matrix @ middle).tolist())
    return transform


def _field(displacement: np.ndarray, grid: Geometry) -> sitk.DisplacementFieldTransform:
    stored = np.ascontiguousarray(np.moveaxis(displacement, -1, 0).T, np.float64)
    image = sitk.GetImageFromArray(stored, isVector=True)
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return sitk.DisplacementFieldTransform(image)


def _single(volume: Volume) -> Volume:
    return Volume(volume.array.astype(np.float32), volume.geometry)
