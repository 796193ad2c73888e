"""Instances that touch: what a network learns of their label maps, and label maps from what it finds."""

import numpy as np
from scipy import ndimage

from multifocal.instances.components import components

INSIDE, BORDER = 1, 2


def border_classes(labels: np.ndarray, *, width: float = 1.5, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    """Return what of each instance is border and what is inside: classes to train on, in which no two instances touch.

    Border = the voxels of an instance that have a voxel of another value (another instance, or background) within
    `width`. Instances no thicker than twice that are border altogether.

    Args:
        labels: integers `(*spatial)`, 2D or 3D: 0 is background, each other value is an instance.
        width: of the border, in the unit of `spacing`. Insides of two instances share no face once it reaches a
            neighbour along each axis, and no corner once it reaches diagonal neighbours (1.5 at a spacing of 1 in 2D).
        spacing: size of a voxel along each axis; None is 1.

    Returns:
        uint8 `(*spatial)`: 0 background, 1 inside, 2 border.

    Raises:
        ValueError: the labels are no integers, or not 2D or 3D; or the width reaches no voxel.

    Source:
        Caicedo et al., Cytometry Part A 95:952 (2019), doi:10.1002/cyto.a.23863: boundaries as a class of their own.

    Example:
        >>> border_classes(np.array([[0, 1, 1, 1, 2, 2, 2]] * 3)).tolist()[1]
        [0, 2, 1, 2, 2, 1, 1]
    """
    labels = _checked(labels)
    step = np.ones(labels.ndim) if spacing is None else np.asarray(spacing, float)
    if step.shape != (labels.ndim,) or not width >= step.min():
        raise ValueError(f"width={width} reaches no neighbour at spacing {step.tolist()}; expected at least the least")
    reach = np.floor(width / step + 1e-6).astype(int)
    offsets = np.meshgrid(*(np.arange(-n, n + 1) * s for n, s in zip(reach, step, strict=True)), indexing="ij")
    near = np.sqrt(sum(offset**2 for offset in offsets)) <= width * (1 + 1e-6)
    is_border = ndimage.maximum_filter(labels, footprint=near, mode="nearest") != labels
    is_border |= ndimage.minimum_filter(labels, footprint=near, mode="nearest") != labels
    return np.where(labels == 0, 0, np.where(is_border, BORDER, INSIDE)).astype(np.uint8)


def watershed_instances(
    foreground: np.ndarray,
    *,
    border: np.ndarray | None = None,
    distance: np.ndarray | None = None,
    threshold: float = 0.5,
    min_depth: float = 1.0,
    min_size: int = 0,
    spacing: tuple[float, ...] | None = None,
) -> np.ndarray:
    """Return the label map of instances that may touch: watershed of the foreground from one marker an instance.

    With `border`: markers are the components of {foreground - border >= threshold}, and the ridges are the borders.
    Else the basins are those of -D, where D is `distance` or, without it, the distance to the background; peaks of D
    whose saddle to a higher one lies less than `min_depth` below them are of one instance with it. A component of the
    foreground without a marker is one instance.

    Args:
        foreground: probability from 0 to 1 that a voxel is of an instance, its border included; `(*spatial)`, 2D or 3D.
        border: probability from 0 to 1 that it is of a border, of the same shape.
        distance: distance to the rim of its instance, as a network finds it, of the same shape and any unit.
        threshold: probability from which a voxel is foreground, and what is left of it without border a marker.
        min_depth: how deep the neck between two parts must be for them to be two, in the unit of D; not looked at with
            `border`.
        min_size: instances of fewer voxels are dropped.
        spacing: size of a voxel along each axis, for the distance to the background; None is 1.

    Returns:
        int32 `(*spatial)`: 0 is background, instances are 1 to n.

    Raises:
        ValueError: shapes that differ, other than 2D or 3D, NaN, both `border` and `distance`, a threshold outside
            (0, 1), or a depth that is not above 0.
        ModuleNotFoundError: the extra `instances` is not installed.

    Source:
        Beucher and Lantuéjoul 1979 (watershed); Soille, Morphological Image Analysis (2003), section 6.3.4 (h-maxima).

    Example:
        >>> two = np.zeros((11, 20))
        >>> rows, columns = np.ogrid[:11, :20]
        >>> for centre in (5, 13):
        ...     two[(rows - 5) ** 2 + (columns - centre) ** 2 <= 23] = 1.0
        >>> [int(watershed_instances(two, min_depth=depth).max()) for depth in (1.0, 4.0)]
        [2, 1]
    """
    from skimage import morphology, segmentation

    mask = _foreground(foreground, border, distance, threshold=threshold, min_depth=min_depth)
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    if border is not None:
        seeds = mask & (np.asarray(foreground) - np.asarray(border) >= threshold)
        height = np.asarray(border, np.float64)
    else:
        if distance is None:
            distance = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), sampling=spacing)
            distance = distance[(slice(1, -1),) * mask.ndim]
        depth = np.where(mask, distance, 0).astype(np.float64)
        # A hair less than the depth, so that a neck of just that depth divides.
        lowered = morphology.reconstruction(np.maximum(depth - min_depth * (1 - 1e-6), 0), depth)
        seeds, height = morphology.local_maxima(lowered, connectivity=mask.ndim, allow_borders=True) & mask, -depth
    markers, count = components(seeds)
    pieces, _ = components(mask)
    unmarked = np.ones(int(pieces.max()) + 1, bool)
    unmarked[pieces[seeds]] = False
    unmarked[0] = False
    markers = np.where(unmarked[pieces], count + pieces, markers)
    return _numbered(segmentation.watershed(height, markers, mask=mask, connectivity=mask.ndim), min_size)


def _foreground(
    foreground: np.ndarray,
    border: np.ndarray | None,
    distance: np.ndarray | None,
    *,
    threshold: float,
    min_depth: float,
) -> np.ndarray:
    if np.ndim(foreground) not in (2, 3):
        raise ValueError(f"foreground has {np.ndim(foreground)} dimensions; expected 2 or 3")
    if border is not None and distance is not None:
        raise ValueError("border and distance are both given; expected one of them")
    for name, other in (("foreground", foreground), ("border", border), ("distance", distance)):
        if other is not None and np.shape(other) != np.shape(foreground):
            raise ValueError(f"{name} has shape {np.shape(other)}; expected {np.shape(foreground)} as of foreground")
        if other is not None and not np.isfinite(other).all():
            raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold={threshold}; expected a number between 0 and 1")
    if not min_depth > 0:
        raise ValueError(f"min_depth={min_depth}; expected a number above 0")
    return np.asarray(foreground) >= threshold


def _numbered(labels: np.ndarray, min_size: int) -> np.ndarray:
    """The labels that are large enough, as 1 to n in the order of their numbers."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = (sizes > 0) & (sizes >= min_size)
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[labels]


def _checked(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim not in (2, 3) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.ndim}D {labels.dtype}; expected 2D or 3D integers")
    return labels
