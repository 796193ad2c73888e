"""Voronoi cells of the lesions, made now or beforehand."""

import numpy as np
import torch

from multifocal.instances import Connectivity, Instances, label, voronoi_cells
from multifocal.losses.checks import check_target_alone, foreground
from multifocal.losses.options import Options


def target_cells(
    target: torch.Tensor, *, spacing: tuple[float, ...] | None = None, connectivity: Connectivity = "full"
) -> torch.Tensor:
    """Return for each voxel the number of its nearest lesion, to be passed to a CC loss at every step.

    Args:
        target: zeros and ones, (B, C, *spatial).
        spacing: mm per voxel along each axis; None counts in voxels.
        connectivity: what joins voxels to one lesion.

    Returns:
        int32 of the target's shape, on its device: from 1 in each image; all 1 in an image without lesions.

    Raises:
        ValueError: a target, a spacing or a connectivity that cannot be.

    Example:
        >>> target_cells(torch.tensor([[[[1, 0, 0, 0, 1, 1]]]])).tolist()
        [[[[1, 1, 2, 2, 2, 2]]]]
    """
    check_target_alone(target)
    options = Options(spacing=spacing, connectivity=connectivity)
    if options.spacing is not None and len(options.spacing) != target.ndim - 2:
        raise ValueError(f"spacing={options.spacing}; expected {target.ndim - 2} numbers, one for each axis")
    masks = np.zeros(target.numel(), bool)
    masks[foreground(target)] = True
    lesions = label(masks.reshape(-1, *target.shape[2:]), connectivity=connectivity)
    found, counts = voronoi_cells(lesions, spacing=options.spacing, device=target.device)
    first = torch.from_numpy(np.cumsum(counts) - counts - 1).to(found)
    return (found - first.view(-1, *[1] * (found.ndim - 1))).view(target.shape)


def cells_of(instances: Instances, options: Options, device: torch.device) -> tuple[torch.Tensor, np.ndarray]:
    """Return the cells of components, (images, voxels), numbered through the batch, and their number in each image."""
    found, counts = voronoi_cells(instances, spacing=options.spacing, device=device)
    return _small(found.flatten(1), counts), counts


def cells_given(numbers: torch.Tensor, ones: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """Return the same of cells made beforehand.

    Args:
        numbers: (images, voxels), as `target_cells` numbers them.
        ones: flat indices of the target's voxels.

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
    owners = numbers.view(-1)[ones] - 1 + (counts.cumsum(0) - counts)[ones // numbers.shape[1]]
    hit = torch.zeros(int(counts.sum()), dtype=torch.bool, device=numbers.device).index_fill_(0, owners, True)
    single = (counts == 1).repeat_interleave(counts)
    if not bool((hit | single).all()):
        raise ValueError("cells has one without a lesion; expected target_cells(target)")
    first = counts.cumsum(0) - counts - 1
    return _small(numbers + first[:, None], counts.cpu().numpy()), counts.cpu().numpy()


def _small(found: torch.Tensor, counts: np.ndarray) -> torch.Tensor:
    """Return cells in as few bytes as they fit into: they are kept until the gradient is taken."""
    return found.to(torch.int16 if counts.sum() <= torch.iinfo(torch.int16).max else torch.int32)
