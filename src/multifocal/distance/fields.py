"""How far each voxel is from the other side of a mask's border."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def border_fields(
    masks: "torch.Tensor", *, spacing: Sequence[float] | None = None, power: float = 2.0
) -> "torch.Tensor":
    """Return for each voxel the distance to the nearest voxel on the other side, to a power.

    Inside a mask this is the distance to the background, outside that to the mask; exact. On the CPU with as many
    threads as torch has; masks on an accelerator stay there.

    Args:
        masks: boolean, (images, *spatial), 2D or 3D images.
        spacing: mm per voxel along each axis; None counts in voxels.
        power: 1 for distances, 2 for squared ones.

    Returns:
        float32 tensor of the masks' shape; zero in images without a border: all of it inside, or all outside.

    Example:
        >>> import torch
        >>> border_fields(torch.tensor([[[True, True, False, False]]]), power=1.0).tolist()
        [[[2.0, 1.0, 1.0, 2.0]]]
    """
    import torch

    if masks.device.type == "cpu":
        from multifocal.kernels.edt import signed_squares

        array = signed_squares(masks.numpy(), spacing=spacing, threads=torch.get_num_threads())
        squares = torch.from_numpy(array).abs_()
    else:
        from multifocal.kernels.torch_edt import border_squares

        squares = border_squares(masks, spacing=spacing)
    # Where one voxel of an image is infinitely far, all are.
    endless = squares.flatten(1)[:, 0].isinf().view(-1, *[1] * (masks.ndim - 1))
    if endless.any():
        squares.masked_fill_(endless, 0)
    if power == 2.0:
        return squares
    return squares.sqrt_() if power == 1.0 else squares.pow_(power / 2.0)
