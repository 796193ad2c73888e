"""Several systems' masks or probabilities as one mask, on the scan's own grid."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multifocal.errors import UserError
from multifocal.instances import Connectivity, components
from multifocal.volumes import Volume, read, write


def vote(masks: Sequence[np.ndarray], *, at_least: int | None = None) -> np.ndarray:
    """Return where enough masks say lesion, uint8.

    Args:
        masks: of one shape.
        at_least: how many must; None is more than half.

    Raises:
        ValueError: `at_least` is not between 1 and the number of masks, or shapes differ.

    Example:
        >>> vote([np.array([1, 1, 0]), np.array([1, 0, 0]), np.array([1, 1, 1])]).tolist()
        [1, 1, 0]
    """
    needed = len(masks) // 2 + 1 if at_least is None else at_least
    if not 1 <= needed <= len(masks):
        raise ValueError(f"at_least is {needed}; expected 1 to {len(masks)}, the number of masks")
    votes = np.sum([np.asarray(mask) > 0 for mask in masks], axis=0, dtype=np.int32)
    return np.asarray(votes >= needed, np.uint8)


def mean(probabilities: Sequence[np.ndarray], *, threshold: float = 0.5) -> np.ndarray:
    """Return where the mean probability reaches the threshold, uint8.

    Example:
        >>> mean([np.array([0.9, 0.4]), np.array([0.3, 0.4])]).tolist()
        [1, 0]
    """
    total = np.sum(probabilities, axis=0, dtype=np.float64)
    return np.asarray(total / len(probabilities) >= threshold, np.uint8)


def by_volume(
    small: np.ndarray, large: np.ndarray, *, below_ml: float, voxel_ml: float, connectivity: Connectivity = "full"
) -> np.ndarray:
    """Return the lesions of one mask that are below a volume, and those of another that are not, uint8.

    Both masks lose the lesions that are not theirs before they are merged, so a lesion of one may come to touch, or lie
    in, one of the other.

    Args:
        small: mask whose lesions below `below_ml` are kept.
        large: mask whose other lesions are kept.
        below_ml: the volume, in ml.
        voxel_ml: volume of a voxel, in ml.
        connectivity: what makes one lesion, see `multifocal.instances.components`.

    Source:
        Rachmadi, Byra, Skibbe 2024, section 4.2.

    Example:
        >>> by_volume(np.eye(3, dtype=int), np.ones((3, 3), int), below_ml=0.004, voxel_ml=0.001).tolist()
        [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    sizes = [_volumes(np.asarray(mask) > 0, connectivity) * voxel_ml for mask in (small, large)]
    # A lesion of exactly the volume is not below it, also where the product of two floats is a last digit off.
    limit = below_ml - 1e-9
    kept = ((sizes[0] > 0) & (sizes[0] < limit)) | ((sizes[1] > 0) & (sizes[1] >= limit))
    return kept.astype(np.uint8)


def combine(files: Sequence[Path], out: Path, *, rule: Callable[[list[np.ndarray], float], np.ndarray]) -> None:
    """Write what a rule makes of several images of one case.

    Args:
        files: masks or probabilities on one grid.
        out: the mask to write.
        rule: from the arrays and the volume of a voxel in ml to a mask.

    Raises:
        UserError: a file cannot be read or written, or lies on another grid than the first.
    """
    volumes = [read(file) for file in files]
    grid = volumes[0].geometry
    for file, volume in zip(files, volumes, strict=True):
        if differences := volume.geometry.differences(grid):
            raise UserError(
                f"{file}: lies on another grid than {files[0]}: {'; '.join(differences)}; predict both again"
            )
    write(out, Volume(rule([volume.array for volume in volumes], grid.voxel_ml), grid))


def _volumes(mask: np.ndarray, connectivity: Connectivity) -> np.ndarray:
    """Return the number of voxels of the lesion at each voxel, 0 outside."""
    labels, _ = components(mask, connectivity=connectivity)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return counts[labels]
