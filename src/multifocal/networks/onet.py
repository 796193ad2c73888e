"""ONet: an encoder for each input, one decoder (one of the six networks of Koirala et al., BONBID-HIE 2023)."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from multifocal.networks.registry import register
from multifocal.networks.supervision import Level
from multifocal.networks.unet3d import Features, Norm, Rates, check_levels, double_convolution

FEATURES, DROPOUT = (16, 32, 64, 128), (0.0, 0.0, 0.0, 0.0)
Channel = Annotated[int, Field(ge=0)]
Groups = Sequence[Annotated[Sequence[Channel], Field(min_length=1)]]


def check_branches(
    *, features: Features = FEATURES, dropout: Rates = DROPOUT, groups: Groups | None = None, **_: object
) -> None:
    """Refuse levels that do not fit together, and a channel that is in two groups.

    Args:
        features: features of each level.
        dropout: dropout rate of each level.
        groups: channels of each encoder.

    Raises:
        ValueError: what is refused.
    """
    check_levels(features=features, dropout=dropout)
    if groups is not None:
        said = sorted(channel for group in groups for channel in group)
        if said != list(range(len(said))):
            raise ValueError(f"groups={[list(group) for group in groups]}: expected each channel once, from 0")


def outputs(*, features: Features = FEATURES, **_: object) -> int:
    """Return how many outputs deep supervision can have.

    Args:
        features: features of each level.

    Returns:
        One for each level of the decoder.
    """
    return len(features) - 1


@register("onet", dimensions=3, check=check_branches, outputs=outputs)
class ONet(nn.Module):
    """ONet: an encoder for each input channel, their features side by side at every skip, one decoder.

    Koirala et al. (2023) name it, and say neither widths nor depth. Here it is two encoders of `unet3d`, or more, whose
    features are concatenated at each skip and in the bottleneck, and its decoder.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        features: features of each level of each encoder, then of its bottleneck.
        dropout: dropout rate of each of these, channel-wise.
        groups: channels of each encoder, numbered from 0: `[[0], [1, 2]]`. None is an encoder for each channel.
        attention: gates on the fused skips say where to look (Oktay et al. 2018).
        norm: batch or instance normalisation.

    Example:
        >>> ONet(in_channels=2, out_channels=1, features=(2, 4), dropout=(0, 0))(torch.zeros(1, 2, 4, 4, 4)).shape
        torch.Size([1, 1, 4, 4, 4])
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        features: Features = FEATURES,
        dropout: Rates = DROPOUT,
        groups: Groups | None = None,
        attention: bool = False,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_branches(features=features, dropout=dropout, groups=groups)
        self.groups = [[channel] for channel in range(in_channels)] if groups is None else [list(g) for g in groups]
        if sum(map(len, self.groups)) != in_channels:
            raise ValueError(f"groups={self.groups}: expected each of the {in_channels} input channels once, from 0")
        levels, branches = len(features) - 1, len(self.groups)
        self.multiple = 2**levels
        self.encoders = nn.ModuleList(
            nn.ModuleList(
                double_convolution(inputs, outputs, rate=rate, norm=norm)
                for inputs, outputs, rate in zip([len(group), *features], features, dropout, strict=False)
            )
            for group in self.groups
        )
        self.pool = nn.MaxPool3d(2)
        fused = [branches * width for width in features]
        below = [*features[1:-1], fused[-1]]  # what comes up into each level
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(below[i], features[i], kernel_size=2, stride=2) for i in range(levels)
        )
        self.gates = nn.ModuleList(
            AttentionGate(fused[i], features[i]) if attention else _Open() for i in range(levels)
        )
        self.decoder = nn.ModuleList(
            double_convolution(features[i] + fused[i], features[i], rate=dropout[i], norm=norm) for i in range(levels)
        )
        self.head = nn.Conv3d(features[0], out_channels, kernel_size=1)
        self.levels = [Level(self.decoder[i], features[i], (2**i,) * 3) for i in range(1, levels)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to logits.

        Args:
            images: `(B, C, X, Y, Z)`, sizes multiples of `multiple`.

        Returns:
            Logits `(B, K, X, Y, Z)`.
        """
        branches = []
        for encoder, group in zip(self.encoders, self.groups, strict=True):
            hidden, found = images[:, group], []
            for level, block in enumerate(encoder.children()):
                hidden = block(self.pool(hidden) if level else hidden)
                found.append(hidden)
            branches.append(found)
        skips = [torch.cat(same, dim=1) for same in zip(*branches, strict=True)]
        hidden = skips[-1]
        for level in reversed(range(len(self.up))):
            coming = self.up[level](hidden)
            hidden = self.decoder[level](torch.cat([self.gates[level](skips[level], coming), coming], dim=1))
        return self.head(hidden)


class AttentionGate(nn.Module):
    """Weigh each voxel of a skip by what comes up from below: `s · σ(ψ(ReLU(W_s s + W_u u)))` (Oktay et al. 2018).

    Args:
        skip: channels of the skip.
        coming: channels of what comes up, of the same size.

    Example:
        >>> AttentionGate(4, 2)(torch.ones(1, 4, 2, 2, 2), torch.ones(1, 2, 2, 2, 2)).shape
        torch.Size([1, 4, 2, 2, 2])
    """

    def __init__(self, skip: int, coming: int) -> None:
        super().__init__()
        between = max(1, coming // 2)
        self.of_skip = nn.Conv3d(skip, between, kernel_size=1)
        self.of_coming = nn.Conv3d(coming, between, kernel_size=1, bias=False)  # one bias is enough for a sum
        self.weight = nn.Conv3d(between, 1, kernel_size=1)

    def forward(self, skip: torch.Tensor, coming: torch.Tensor) -> torch.Tensor:
        """Weigh.

        Args:
            skip: `(B, skip, X, Y, Z)`.
            coming: `(B, coming, X, Y, Z)`.

        Returns:
            The skip, weighed.
        """
        return skip * torch.sigmoid(self.weight(torch.relu(self.of_skip(skip) + self.of_coming(coming))))


class _Open(nn.Module):
    def forward(self, skip: torch.Tensor, coming: torch.Tensor) -> torch.Tensor:
        return skip
