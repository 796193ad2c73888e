"""What depends on the target alone, made beforehand: distances to its border, and its lesions' Voronoi cells."""

import numpy as np
import torch

from multifocal.instances import Connectivity, Instances, label, voronoi_cells
from multifocal.losses.ignored import Frames, frames_of, known_border_fields, without_ignored
from multifocal.losses.inputs import Options, check_target_alone, foreground

_TOLERANCE = 2e-3  # half precision has three digits


def target_distances(
    target: torch.Tensor,
    *,
    spacing: tuple[float, ...] | None = None,
    ignore: int | torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the distance of each voxel to the border of the target, to be passed to a loss at every step.

    Args:
        target: zeros and ones, (B, C, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        ignore: value of the target's voxels that are on neither side of the border, or a boolean mask of them, as the
            loss takes it; None for none.

    Returns:
        float32 of the target's shape; 0 in an image without a border, and in ignored voxels.

    Raises:
        ValueError: a target or a spacing that cannot be.

    Example:
        >>> target_distances(torch.tensor([[[[1, 1, 0, 0, 0]]]])).tolist()
        [[[[2.0, 1.0, 1.0, 2.0, 3.0]]]]
    """
    masks, ignored, options = _read(target, Options(spacing=spacing), ignore)
    found = known_border_fields(
        torch.from_numpy(masks),
        None if ignored is None else torch.from_numpy(ignored),
        spacing=options.spacing,
        power=1.0,
    )
    return found.view(target.shape)


def target_cells(
    target: torch.Tensor,
    *,
    spacing: tuple[float, ...] | None = None,
    connectivity: Connectivity = "full",
    ignore: int | torch.Tensor | None = None,
) -> torch.Tensor:
    """Return for each voxel the number of its nearest lesion, to be passed to a CC loss at every step.

    Args:
        target: zeros and ones, (B, C, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        connectivity: what joins voxels to one lesion.
        ignore: value of the target's voxels that are in no lesion and in no cell, whatever number they get, or a
            boolean mask of them, as the loss takes it; None for none.

    Returns:
        int32 of the target's shape, on its device: from 1 in each image; all 1 in an image without lesions.

    Raises:
        ValueError: a target, a spacing or a connectivity that cannot be.

    Example:
        >>> target_cells(torch.tensor([[[[1, 0, 0, 0, 1, 1]]]])).tolist()
        [[[[1, 1, 2, 2, 2, 2]]]]
    """
    masks, ignored, options = _read(target, Options(spacing=spacing, connectivity=connectivity), ignore)
    lesions = label(masks, connectivity=connectivity)
    frames = None if ignored is None else frames_of(~ignored)
    found, counts = voronoi_cells(lesions, spacing=options.spacing, device=target.device, frames=frames)
    first = torch.from_numpy(np.cumsum(counts) - counts - 1).to(found)
    return (found - first.view(-1, *[1] * (found.ndim - 1))).view(target.shape)


def check_distances(
    distances: torch.Tensor,
    bordered: np.ndarray,
    spacing: tuple[float, ...] | None,
    *,
    ignored: torch.Tensor | None = None,
) -> None:
    """Raise ValueError for distances that cannot be those of the images.

    Beside a border the distance is a side of the voxels, and nowhere is it less; where ignored voxels lie between, it
    may be more.

    Args:
        distances: (images, voxels).
        bordered: which images' targets have a border.
        spacing: mm per voxel along each axis.
        ignored: (images, voxels), where distances are 0 and of no account; None for nowhere.

    Example:
        >>> check_distances(torch.tensor([[2.0, 2.0]]), np.array([True]), (1.0, 1.0))
        Traceback (most recent call last):
        ValueError: distances are 2 beside a border; expected those of target_distances(target, spacing=(1.0, 1.0))
    """
    held = distances.detach()
    if ignored is not None:  # any other distance of the image stands in
        held = torch.where(ignored, held.amax(1, keepdim=True), held)
    low, high = (end.cpu().double().numpy() for end in (held.amin(1), held.amax(1)))  # ten times as fast as aminmax
    if not np.isfinite(low + high).all():
        raise ValueError("distances holds NaN or infinity; expected target_distances(target)")
    if (low[bordered] <= 0).any() or low[~bordered].any() or high[~bordered].any():
        raise ValueError(
            "distances is not above 0 exactly where images have a border; expected target_distances(target)"
        )
    sides = np.array(spacing or (1.0,))
    whole = np.ones(len(low), bool) if ignored is None else ~ignored.any(1).cpu().numpy()
    whole &= bordered
    wrong = [least for least in low[whole] if not np.isclose(least, sides, rtol=_TOLERANCE, atol=0).any()]
    if wrong:
        expected = f"those of target_distances(target, spacing={spacing})"
        raise ValueError(f"distances are {wrong[0]:.6g} beside a border; expected {expected}")


def cells_of(
    instances: Instances, options: Options, device: torch.device, *, frames: Frames
) -> tuple[torch.Tensor, np.ndarray]:
    """Return the cells of components, (images, voxels), numbered through the batch, and their number in each image."""
    found, counts = voronoi_cells(instances, spacing=options.spacing, device=device, frames=frames)
    return _small(found.flatten(1), counts), counts


def cells_given(numbers: torch.Tensor, foreground_index: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Return the same of cells made beforehand.

    Args:
        numbers: (images, voxels), as `target_cells` numbers them.
        foreground_index: flat indices of the target's voxels.

    Returns:
        (images, voxels) whole numbers that number cells from 0 over the batch, and the number of cells of each image.

    Raises:
        ValueError: numbers that are not of this target.
    """
    low, high = numbers.aminmax(dim=1)
    if int(low.min()) < 1:
        raise ValueError(f"cells holds {int(low.min())}; expected target_cells(target), numbered from 1")
    if int(high.max()) > numbers.shape[1]:
        raise ValueError(f"cells holds {int(high.max())}, more than there are voxels; expected target_cells(target)")
    # Numbers go through the batch, which the type they came in may be too small for; channels leave them strided.
    numbers, counts = numbers.long().contiguous(), high.long()
    # Every cell has its lesion, and an image without lesions is one cell.
    owners = numbers.view(-1)[foreground_index] - 1 + (counts.cumsum(0) - counts)[foreground_index // numbers.shape[1]]
    hit = torch.zeros(int(counts.sum()), dtype=torch.bool, device=numbers.device).index_fill_(0, owners, True)
    single = (counts == 1).repeat_interleave(counts)
    if not bool((hit | single).all()):
        raise ValueError("cells has one without a lesion; expected target_cells(target)")
    first = counts.cumsum(0) - counts - 1
    return _small(numbers + first[:, None], counts.cpu().numpy()), counts.cpu().numpy()


def _read(
    target: torch.Tensor, options: Options, ignore: int | torch.Tensor | None
) -> tuple[np.ndarray, np.ndarray | None, Options]:
    """Return the target's masks, (images, *spatial), which of their voxels are ignored, and the options."""
    check_target_alone(target)
    if options.spacing is not None and len(options.spacing) != target.ndim - 2:
        raise ValueError(f"spacing={options.spacing}; expected {target.ndim - 2} numbers, one for each axis")
    mask = ignore if isinstance(ignore, torch.Tensor) else None
    value = None if mask is not None else Options(ignore=ignore).ignore  # type: ignore[arg-type]
    target, found = without_ignored(target, target.shape, value=value, mask=mask, softmax=False)
    masks = np.zeros(target.numel(), bool)
    masks[foreground(target)] = True
    shape = (-1, *target.shape[2:])
    ignored = None if found is None else found.expand(target.shape).reshape(shape).cpu().numpy()
    return masks.reshape(shape), ignored, options


def _small(found: torch.Tensor, counts: np.ndarray) -> torch.Tensor:
    """Return cells in as few bytes as they fit into: they are kept until the gradient is taken."""
    return found.to(torch.int16 if counts.sum() <= torch.iinfo(torch.int16).max else torch.int32)
