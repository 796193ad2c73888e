"""The 3D U-Net of Usman et al. 2025 (arXiv:2502.09148, section 3.2.2)."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from multifocal.networks.registry import register
from multifocal.networks.supervision import Level

Norm = Literal["batch", "instance"]
Activation = Literal["leaky-relu", "relu"]
NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm3d,
    "instance": lambda channels: nn.InstanceNorm3d(channels, affine=True),
}
ACTIVATIONS: dict[Activation, type[nn.LeakyReLU | nn.ReLU]] = {"leaky-relu": nn.LeakyReLU, "relu": nn.ReLU}


Features = Sequence[Annotated[int, Field(gt=0)]]
Rates = Sequence[Annotated[float, Field(ge=0, lt=1)]]
FEATURES, DROPOUT = (32, 64, 128, 256), (0.1, 0.2, 0.3, 0.4)


def check_levels(*, features: Features = FEATURES, dropout: Rates = DROPOUT, **_: object) -> None:
    """Refuse features and dropout rates that are not of the same levels.

    Args:
        features: features of each level.
        dropout: dropout rate of each level.

    Raises:
        ValueError: their numbers differ, or there is only one.
    """
    if len(features) < 2 or len(dropout) != len(features):
        raise ValueError(
            f"features={list(features)} and dropout={list(dropout)}: expected two lists of one length, at least 2"
        )


def outputs(*, features: Features = FEATURES, **_: object) -> int:
    """Return how many outputs deep supervision can have.

    Args:
        features: features of each level.

    Returns:
        One for each level of the decoder.
    """
    return len(features) - 1


@register("unet3d", dimensions=3, check=check_levels, outputs=outputs)
class UNet3d(nn.Module):
    """3D U-Net: double convolutions, LeakyReLU, dropout rising with depth, max-pool, transposed convolution.

    The paper gives the layers but not the numbers of features nor the dropout rates; the defaults here are the usual
    doubling from 32 and a linear rise.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: features of each encoder level, then of the bottleneck. Three levels in the paper.
        dropout: dropout rate of each of these, channel-wise.
        norm: batch (paper) or instance normalisation.
        activation: LeakyReLU (paper), or ReLU.
        prior: probability that the untrained network gives every voxel. Lesions are rare: started at 0.5, a network
            spends its first epochs on learning that (Lin et al. 2017, section 4.1). None leaves the bias random.

    Example:
        >>> UNet3d(in_channels=2, out_channels=1, features=(4, 8), dropout=(0, 0))(torch.zeros(1, 2, 8, 8, 8)).shape
        torch.Size([1, 1, 8, 8, 8])
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        features: Features = FEATURES,
        dropout: Rates = DROPOUT,
        norm: Norm = "batch",
        activation: Activation = "leaky-relu",
        prior: Annotated[float, Field(gt=0, lt=1)] | None = None,
    ) -> None:
        super().__init__()
        check_levels(features=features, dropout=dropout)
        levels = len(features) - 1
        self.multiple = 2**levels
        widths = [in_channels, *features]
        self.encoder = nn.ModuleList(
            double_convolution(widths[i], widths[i + 1], rate=dropout[i], norm=norm, activation=activation)
            for i in range(levels + 1)
        )
        self.pool = nn.MaxPool3d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(features[i + 1], features[i], kernel_size=2, stride=2) for i in range(levels)
        )
        self.decoder = nn.ModuleList(
            double_convolution(2 * features[i], features[i], rate=dropout[i], norm=norm, activation=activation)
            for i in range(levels)
        )
        self.head = nn.Conv3d(features[0], out_channels, kernel_size=1)
        if prior is not None:
            nn.init.constant_(self.head.bias, math.log(prior / (1 - prior)))  # type: ignore[arg-type]
        self.levels = [Level(self.decoder[i], features[i], (2**i,) * 3) for i in range(1, levels)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to logits.

        Args:
            images: `(B, C, X, Y, Z)`, sizes multiples of `multiple`.

        Returns:
            Logits `(B, K, X, Y, Z)`.
        """
        skips = []
        hidden = images
        for level, block in enumerate(self.encoder):
            hidden = block(self.pool(hidden) if level else hidden)
            skips.append(hidden)
        for level in reversed(range(len(self.up))):
            hidden = self.decoder[level](torch.cat([skips[level], self.up[level](hidden)], dim=1))
        return self.head(hidden)


def double_convolution(
    inputs: int, outputs: int, *, rate: float, norm: Norm, activation: Activation = "leaky-relu"
) -> nn.Sequential:
    """Return two convolutions 3³, each with normalisation and activation, and dropout after them.

    Args:
        inputs: channels in.
        outputs: channels out.
        rate: of dropout, channel-wise; 0 is no layer.
        norm: batch or instance normalisation.
        activation: LeakyReLU or ReLU.

    Returns:
        The layers.

    Example:
        >>> double_convolution(2, 4, rate=0.0, norm="batch")(torch.zeros(1, 2, 3, 3, 3)).shape
        torch.Size([1, 4, 3, 3, 3])
    """
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        # The normalisation that follows removes any constant, so the convolution needs no bias.
        layers += [nn.Conv3d(width, outputs, kernel_size=3, padding=1, bias=False), NORMS[norm](outputs)]
        layers += [ACTIVATIONS[activation](inplace=True)]
    if rate:
        layers.append(nn.Dropout3d(rate))
    return nn.Sequential(*layers)
