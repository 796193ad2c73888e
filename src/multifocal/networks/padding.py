"""Any input size for a network that halves its input several times."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from multifocal.errors import UserError


class Padded(nn.Module):
    """Pad the input with zeros up to the network's multiple, run the network, crop its output back.

    Zeros are what preprocessing puts outside the brain (z-score in the brain, priors), so the padding looks like more
    of the same background.

    Args:
        network: a module with an attribute `multiple`. One that takes images of a single size (learnt positions) has
            an attribute `fixed_size`, too: smaller images are padded to it, larger ones refused.
        out_channels: of its logits.

    Example:
        >>> network = nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2))
        >>> network.multiple = 2
        >>> Padded(network)(torch.ones(1, 1, 3, 5)).shape
        torch.Size([1, 1, 3, 5])
    """

    def __init__(self, network: nn.Module, *, out_channels: int = 1) -> None:
        super().__init__()
        self.network = network
        self.out_channels = out_channels
        self.multiple: int = int(network.multiple)  # type: ignore[arg-type]
        self.fixed_size: tuple[int, ...] | None = getattr(network, "fixed_size", None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images of any size to logits of that size.

        Args:
            images: `(B, C, *spatial)`.

        Returns:
            Logits `(B, K, *spatial)`.

        Raises:
            UserError: the network takes one size only, and the images are larger.
        """
        size = images.shape[2:]
        if self.fixed_size is not None:
            extra = [whole - length for whole, length in zip(self.fixed_size, size, strict=True)]
            if min(extra) < 0:
                raise UserError(
                    f"images of {_times(size)} are larger than the {_times(self.fixed_size)} that the network takes; "
                    "raise network.options.img_size, or make them smaller in preprocessing"
                )
        else:
            extra = [-length % self.multiple for length in size]
            if all(length <= self.multiple for length in size):
                extra[-1] += self.multiple  # normalisation needs more than one voxel at the bottom
        if not any(extra):
            return self.network(images)
        # functional.pad counts from the last axis backwards; all of the padding goes to the far end.
        padding = [amount for length in reversed(extra) for amount in (0, length)]
        logits = self.network(functional.pad(images, padding))
        return logits[(..., *(slice(length) for length in size))]


def _times(size: Iterable[int]) -> str:
    return "×".join(map(str, size))
