"""nnU-Net's residual encoder U-Net, of the package dynamic-network-architectures."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from multifocal.networks.foreign import Foreign
from multifocal.networks.registry import register
from multifocal.networks.supervision import Level

Count = Annotated[int, Field(gt=0)]
Counts = Sequence[Count]
Axes = Sequence[Count | Counts]  # of each stage one number, or one for each axis
ARCHITECTURE = Foreign("dynamic_network_architectures.architectures.unet", "ResidualEncoderUNet")
# Those of nnU-Net's planner for residual encoders (nnUNetPlannerResEncM), cut to six stages.
FEATURES, STRIDES, BLOCKS = (32, 64, 128, 256, 320, 320), (1, 2, 2, 2, 2, 2), (1, 3, 4, 6, 6, 6)


def check_stages(
    *,
    features: Counts = FEATURES,
    strides: Axes = STRIDES,
    blocks: Counts = BLOCKS,
    kernel_size: Axes | None = None,
    **_: Any,
) -> None:
    """Refuse lists that are not of the same stages, and even kernels, which shift the image.

    Args:
        features: of each stage.
        strides: of each stage.
        blocks: of each stage.
        kernel_size: of each stage.

    Raises:
        ValueError: what is refused.
    """
    lists = {"features": features, "strides": strides, "blocks": blocks}
    lists |= {} if kernel_size is None else {"kernel_size": kernel_size}
    if len(features) < 2 or len({len(each) for each in lists.values()}) > 1:
        said = ", ".join(f"{key}={_plain(each)}" for key, each in lists.items())
        raise ValueError(f"{said}: expected lists of one length, at least 2")
    if set(_axes(strides[0])) != {1}:
        raise ValueError(f"strides={_plain(strides)}: expected the first to be 1")
    if any(size % 2 == 0 for one in kernel_size or () for size in _axes(one)):
        raise ValueError(f"kernel_size={_plain(kernel_size)}: expected odd numbers; even ones shift the image")


def outputs(*, features: Counts = FEATURES, **_: Any) -> int:
    """Return how many outputs deep supervision can have.

    Args:
        features: of each stage.

    Returns:
        One for each stage of the decoder.
    """
    return len(features) - 1


@register("residual-encoder-unet", dimensions=3, check=check_stages, outputs=outputs)
@register("residual-encoder-unet-2d", dimensions=2, check=check_stages, outputs=outputs)
def residual_encoder_unet(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    features: Counts = FEATURES,
    strides: Axes = STRIDES,
    blocks: Counts = BLOCKS,
    kernel_size: Axes | None = None,
    decoder_convolutions: Count = 1,
) -> nn.Module:
    """nnU-Net's residual encoder U-Net: many residual blocks down, few layers up (Isensee et al. 2024).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        features: of each stage.
        strides: of each stage, one number or one for each axis; the first is 1.
        blocks: residual blocks of each stage of the encoder.
        kernel_size: of each stage, one number or one for each axis; None is 3.
        decoder_convolutions: in each stage of the decoder.

    Returns:
        The network, with nnU-Net's normalisation, activation and start of its weights.

    Raises:
        ValueError: strides or kernels have another number of axes than the image, or the package is not installed.
    """
    check_stages(features=features, strides=strides, blocks=blocks, kernel_size=kernel_size)
    kernels = kernel_size or (3,) * len(features)
    for key, each in (("strides", strides), ("kernel_size", kernels)):
        if any(len(_axes(one)) not in (1, spatial_dims) for one in each):
            raise ValueError(f"{key}={_plain(each)}: expected one number, or {spatial_dims}, of each stage")
    steps = [tuple(_axes(one) * (spatial_dims if len(_axes(one)) == 1 else 1)) for one in strides]
    network: Any = ARCHITECTURE.build(
        {
            "input_channels": in_channels,
            "num_classes": out_channels,
            "n_stages": len(features),
            "features_per_stage": features,
            "conv_op": (nn.Conv2d, nn.Conv3d)[spatial_dims - 2],
            "kernel_sizes": [tuple(_axes(one) * (spatial_dims if len(_axes(one)) == 1 else 1)) for one in kernels],
            "strides": steps,
            "n_blocks_per_stage": blocks,
            "n_conv_per_stage_decoder": decoder_convolutions,
            "conv_bias": True,
            "norm_op": (nn.InstanceNorm2d, nn.InstanceNorm3d)[spatial_dims - 2],
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
        }
    )
    network.apply(network.initialize)
    # Its own heads of deep supervision are ours to make; unused, they would make several processes wait for gradients.
    for number in range(len(features) - 2):
        network.decoder.seg_layers[number] = nn.Identity()
    network.multiple = math.lcm(*(math.prod(axis) for axis in zip(*steps, strict=True)))
    finest_first = list(network.decoder.stages)[::-1]
    network.levels = [
        Level(finest_first[i], features[i], tuple(math.prod(axis) for axis in zip(*steps[: i + 1], strict=True)))
        for i in range(1, len(features) - 1)
    ]
    return network


def _axes(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, Sequence) else value
