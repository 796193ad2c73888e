"""Deep supervision: a network's coarser features give logits, too, while it is trained (Lee et al. 2015).

A network says where its features lie (`levels`); the heads on them are not part of it. So its weights are the same with
and without, and whoever predicts never sees them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from multifocal.networks.padding import Padded
from multifocal.networks.prior import start_from_prior


@dataclass(frozen=True)
class Level:
    """Features of a network that a head can be put on.

    Attributes:
        features: the part of the network whose output they are.
        channels: how many there are.
        stride: how many times coarser than the image they are, along each axis.

    Example:
        >>> Level(nn.Identity(), channels=8, stride=(2, 2, 1)).channels
        8
    """

    features: nn.Module
    channels: int
    stride: tuple[int, ...]


class DeepSupervision(nn.Module):
    """Pointwise convolutions on a network's coarser features: logits of several sizes, the full one first.

    Args:
        network: as `networks.build` returns it; one that has `levels`. It does not become a part of this module.
        outputs: how many there are with the network's own.
        prior: see `start_from_prior`; of the heads, too. None leaves their bias random.
        softmax: see `start_from_prior`.

    Raises:
        ValueError: the network has fewer outputs.

    Example:
        >>> from multifocal import networks
        >>> network = networks.build("unet3d", in_channels=1, features=(2, 4, 8), dropout=(0, 0, 0))
        >>> [tuple(one.shape[2:]) for one in DeepSupervision(network, outputs=2)(network, torch.zeros(1, 1, 9, 8, 4))]
        [(9, 8, 4), (5, 4, 2)]
    """

    def __init__(self, network: Padded, *, outputs: int, prior: float | None = None, softmax: bool = False) -> None:
        super().__init__()
        levels = _levels(network)[: outputs - 1]
        if len(levels) < outputs - 1:
            raise ValueError(f"{outputs} outputs of a network that has {len(levels) + 1}")
        self.strides = [level.stride for level in levels]
        self.heads = nn.ModuleList(
            (nn.Conv2d if len(level.stride) == 2 else nn.Conv3d)(level.channels, network.out_channels, kernel_size=1)
            for level in levels
        )
        if prior is not None:
            for head in self.heads:
                start_from_prior(head, prior, out_channels=network.out_channels, softmax=softmax)

    def forward(self, network: Padded, images: torch.Tensor) -> list[torch.Tensor]:
        """Map images to logits of several sizes.

        Args:
            network: the one that the heads were made for.
            images: `(B, C, *spatial)`.

        Returns:
            Logits `(B, K, *spatial)`, then those of each coarser level, `(B, K, *ceil(spatial / stride))`.
        """
        found: dict[int, torch.Tensor] = {}
        levels = _levels(network)[: len(self.heads)]
        hooks = [level.features.register_forward_hook(partial(_keep, found, i)) for i, level in enumerate(levels)]
        try:
            outputs = [network(images)]
        finally:
            for hook in hooks:
                hook.remove()
        for i, (head, stride) in enumerate(zip(self.heads, self.strides, strict=True)):
            # What the network pads its input with lies at the far end, here as there.
            size = [slice(-(-length // step)) for length, step in zip(images.shape[2:], stride, strict=True)]
            outputs.append(head(found[i])[(..., *size)])
        return outputs


def downsample_target(target: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    """Return a target on a coarser grid: of each voxel the value at its centre. Class numbers stay what they are.

    Args:
        target: `(B, C, *spatial)`.
        stride: how many times coarser it becomes, along each axis.

    Returns:
        `(B, C, *ceil(spatial / stride))`, of the same type.

    Example:
        >>> downsample_target(torch.arange(5).view(1, 1, 1, 5), (1, 2)).tolist()
        [[[[1, 3, 4]]]]
    """
    for axis, step in enumerate(stride, start=2):
        if step > 1:
            last = target.shape[axis] - 1
            centres = torch.arange(step // 2, last + 1 + step // 2, step, device=target.device)
            target = target.index_select(axis, centres.clamp(max=last))
    return target


def _levels(network: Padded) -> list[Level]:
    return getattr(network.network, "levels", [])


def _keep(found: dict[int, torch.Tensor], number: int, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
    found[number] = output
