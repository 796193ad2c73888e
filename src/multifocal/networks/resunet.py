"""The residual U-Net of Wodzinski and Müller (BONBID-HIE challenge 2023, team medgift)."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from multifocal.networks.registry import register
from multifocal.networks.supervision import Level

Counts = Sequence[Annotated[int, Field(gt=0)]]
FEATURES, BLOCKS = (16, 64, 128, 256, 512), (1, 1, 2, 2, 2)


def check_levels(*, features: Counts = FEATURES, blocks: Counts = BLOCKS, **_: object) -> None:
    """Refuse features and blocks that are not of the same levels.

    Args:
        features: features of each level.
        blocks: residual blocks of each level.

    Raises:
        ValueError: their numbers differ, or there are none.
    """
    if not features or len(blocks) != len(features):
        raise ValueError(f"features={list(features)} and blocks={list(blocks)}: expected two lists of one length")


def outputs(*, features: Counts = FEATURES, **_: object) -> int:
    """Return how many outputs deep supervision can have.

    Args:
        features: features of each level.

    Returns:
        One for each level of the decoder.
    """
    return len(features)


@register("resunet", dimensions=3, check=check_levels, outputs=outputs)
class ResUNet(nn.Module):
    """ResUNet: residual blocks, strides down and up, no skip at full size (Wodzinski & Müller 2023).

    What each level hands on to the decoder is its strided output, so that the finest detail passes no skip. Its
    defaults are the published ones: 120.74 million weights with two channels of input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: features of each level; each level halves the image.
        blocks: residual blocks of each level, in the encoder and in the decoder.

    Example:
        >>> ResUNet(in_channels=2, out_channels=1, features=(2, 4), blocks=(1, 1))(torch.zeros(1, 2, 8, 8, 8)).shape
        torch.Size([1, 1, 8, 8, 8])
    """

    def __init__(
        self, *, in_channels: int, out_channels: int, features: Counts = FEATURES, blocks: Counts = BLOCKS
    ) -> None:
        super().__init__()
        check_levels(features=features, blocks=blocks)
        levels = range(len(features))
        self.multiple = 2 ** len(features)
        inputs = [in_channels, *features]
        self.encoder = nn.ModuleList(_blocks(inputs[i], features[i], blocks[i]) for i in levels)
        self.down = nn.ModuleList(
            _normed(nn.Conv3d(width, width, kernel_size=4, stride=2, padding=1), width) for width in features
        )
        # The deepest level has the last strided output alone, the others what comes up and their own.
        inputs = [own + deeper for own, deeper in zip(features, [*features[1:], 0], strict=True)]
        self.decoder = nn.ModuleList(_blocks(inputs[i], features[i], blocks[i]) for i in levels)
        self.up = nn.ModuleList(
            _normed(nn.ConvTranspose3d(width, width, kernel_size=4, stride=2, padding=1), width) for width in features
        )
        self.head = nn.Conv3d(features[0], out_channels, kernel_size=1)
        self.levels = [Level(self.up[i], features[i], (2**i,) * 3) for i in levels[1:]]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to logits.

        Args:
            images: `(B, C, X, Y, Z)`, sizes multiples of `multiple`.

        Returns:
            Logits `(B, K, X, Y, Z)`.
        """
        skips = []
        hidden = images
        for block, down in zip(self.encoder, self.down, strict=True):
            hidden = down(block(hidden))
            skips.append(hidden)
        for level in reversed(range(len(self.up))):
            joined = hidden if level == len(self.up) - 1 else torch.cat([hidden, skips[level]], dim=1)
            hidden = self.up[level](self.decoder[level](joined))
        return self.head(hidden)


class ResidualBlock(nn.Module):
    """Two convolutions, each with normalisation and LeakyReLU, and a pointwise convolution around them.

    Args:
        inputs: channels in.
        outputs: channels out.

    Example:
        >>> ResidualBlock(2, 4)(torch.zeros(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 3, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _normed(nn.Conv3d(inputs, outputs, kernel_size=3, padding=1), outputs),
            _normed(nn.Conv3d(outputs, outputs, kernel_size=3, padding=1), outputs),
        )
        self.shortcut = nn.Conv3d(inputs, outputs, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map features to features.

        Args:
            images: `(B, inputs, X, Y, Z)`.

        Returns:
            `(B, outputs, X, Y, Z)`.
        """
        return self.body(images) + self.shortcut(images)


def _blocks(inputs: int, outputs: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(outputs if i else inputs, outputs) for i in range(number)))


def _normed(convolution: nn.Module, width: int) -> nn.Sequential:
    """Return a convolution with GroupNorm of one channel a group, as published, and LeakyReLU."""
    return nn.Sequential(convolution, nn.GroupNorm(width, width), nn.LeakyReLU(0.01, inplace=True))
