"""MONAI's networks, each for volumes and (NAME-2d) for images.

A function here says what MONAI does not: the sizes that fit, our defaults where MONAI has none, and what is refused.
All other options are arguments of MONAI's class.
"""

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
Axes = Sequence[Count | Counts]  # of each level one number, or one for each axis

NETS = "monai.networks.nets"
SHAPE = ("spatial_dims", "in_channels", "out_channels")
SWINUNETR = Foreign(NETS, "SwinUNETR", (*SHAPE, "patch_size", "norm_layer"))
SEGRESNET = Foreign(NETS, "SegResNet", (*SHAPE, "norm_name", "num_groups", "use_conv_final"))
ATTENTION_UNET = Foreign(NETS, "AttentionUnet", SHAPE)
UNET = Foreign(NETS, "UNet", SHAPE)
DYNUNET = Foreign(NETS, "DynUNet", (*SHAPE, "upsample_kernel_size", "deep_supervision", "deep_supr_num"))
VNET = Foreign(NETS, "VNet", (*SHAPE, "dropout_prob", "dropout_dim"))
UNETR = Foreign(NETS, "UNETR", (*SHAPE, "save_attn"))
BASIC_UNETPP = Foreign(NETS, "BasicUNetPlusPlus", (*SHAPE, "deep_supervision"))

CHANNELS, STRIDES = (16, 32, 64, 128, 256), (2, 2, 2, 2)
BLOCKS_DOWN, BLOCKS_UP = (1, 2, 2, 4), (1, 1, 1)
DYNAMIC_STRIDES = (1, 2, 2, 2, 2)


def check_channels(*, channels: Counts = CHANNELS, strides: Counts = STRIDES, **others: Any) -> None:
    """Refuse channels and strides that are not of the same levels, and even kernels, which shift the image.

    Args:
        channels: of each level, then of the bottleneck.
        strides: of each level.
        **others: options that are looked at for even kernels.

    Raises:
        ValueError: what is refused.
    """
    if len(channels) < 2 or len(strides) != len(channels) - 1:
        raise ValueError(
            f"channels={list(channels)} and strides={list(strides)}: expected at least 2 channels, and one stride less"
        )
    for key in ("kernel_size", "up_kernel_size"):
        _check_odd(key, others.get(key, 3))


def check_blocks(*, blocks_down: Counts = BLOCKS_DOWN, blocks_up: Counts = BLOCKS_UP, **_: Any) -> None:
    """Refuse blocks that do not go up as often as down.

    Args:
        blocks_down: blocks of each level on the way down.
        blocks_up: blocks of each level on the way up.

    Raises:
        ValueError: what is refused.
    """
    if not blocks_up or len(blocks_up) != len(blocks_down) - 1:
        raise ValueError(
            f"blocks_down={list(blocks_down)} and blocks_up={list(blocks_up)}: expected at least 2 blocks down, "
            "one more than up"
        )


def check_strides(*, strides: Axes = DYNAMIC_STRIDES, kernel_size: Axes | None = None, **_: Any) -> None:
    """Refuse strides and kernels that are not of the same levels, or do not lead back to the image's own size.

    Args:
        strides: of each level.
        kernel_size: of each level.

    Raises:
        ValueError: what is refused.
    """
    if len(strides) < 3 or {1} != set(_axes(strides[0])):
        raise ValueError(f"strides={_lists(strides)}: expected at least 3, the first of them 1")
    if kernel_size is not None and len(kernel_size) != len(strides):
        raise ValueError(
            f"kernel_size={_lists(kernel_size)} and strides={_lists(strides)}: expected two lists of one length"
        )
    _check_odd("kernel_size", kernel_size or 3)


def dynunet_outputs(*, strides: Axes = DYNAMIC_STRIDES, **_: Any) -> int:
    """Return how many outputs deep supervision of a DynUNet can have.

    Args:
        strides: of each level.

    Returns:
        One for each level of the decoder.
    """
    return len(strides) - 1


def unetpp_outputs(**_: Any) -> int:
    """Return how many outputs deep supervision of a UNet++ can have.

    Returns:
        One for each of the nested U-Nets.
    """
    return 4


def check_image(*, img_size: Count | Counts = 96, **_: Any) -> None:
    """Refuse a size that is not whole patches.

    Args:
        img_size: of the images, one number or one for each axis.

    Raises:
        ValueError: what is refused.
    """
    if any(length % 16 for length in _axes(img_size)):
        raise ValueError(f"img_size={_lists(img_size)}: expected multiples of 16, the size of a patch")


@register("swinunetr", dimensions=3, foreign=SWINUNETR)
@register("swinunetr-2d", dimensions=2, foreign=SWINUNETR)
def swinunetr(*, in_channels: int, out_channels: int, spatial_dims: int, **options: Any) -> nn.Module:
    """Swin UNETR: encoder of shifted-window attention, convolutions up (Hatamizadeh et al. 2022).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        **options: arguments of MONAI's SwinUNETR.

    Returns:
        The network.
    """
    return _build(SWINUNETR, spatial_dims, in_channels, out_channels, options, multiple=2**5)


@register("segresnet", dimensions=3, foreign=SEGRESNET, check=check_blocks)
@register("segresnet-2d", dimensions=2, foreign=SEGRESNET, check=check_blocks)
def segresnet(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    blocks_down: Counts = BLOCKS_DOWN,
    blocks_up: Counts = BLOCKS_UP,
    **options: Any,
) -> nn.Module:
    """SegResNet: a residual encoder larger than its decoder (Myronenko 2018), without the autoencoder.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        blocks_down: residual blocks of each level on the way down; each level halves the image.
        blocks_up: residual blocks of each level on the way up.
        **options: arguments of MONAI's SegResNet.

    Returns:
        The network.
    """
    options |= {"blocks_down": blocks_down, "blocks_up": blocks_up}
    return _build(SEGRESNET, spatial_dims, in_channels, out_channels, options, multiple=2 ** len(blocks_up))


@register("attentionunet", dimensions=3, foreign=ATTENTION_UNET, check=check_channels)
@register("attentionunet-2d", dimensions=2, foreign=ATTENTION_UNET, check=check_channels)
def attentionunet(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    channels: Counts = CHANNELS,
    strides: Counts = STRIDES,
    **options: Any,
) -> nn.Module:
    """Attention U-Net: gates on the skip connections say where to look (Oktay et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        channels: features of each level, then of the bottleneck.
        strides: by how much each level shrinks the image.
        **options: arguments of MONAI's AttentionUnet.

    Returns:
        The network.
    """
    options |= {"channels": channels, "strides": strides}
    return _build(ATTENTION_UNET, spatial_dims, in_channels, out_channels, options, multiple=math.prod(strides))


@register("monai-unet", dimensions=3, foreign=UNET, check=check_channels)
@register("monai-unet-2d", dimensions=2, foreign=UNET, check=check_channels)
def monai_unet(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    channels: Counts = CHANNELS,
    strides: Counts = STRIDES,
    num_res_units: Annotated[int, Field(ge=0)] = 2,
    **options: Any,
) -> nn.Module:
    """MONAI's U-Net of residual units, with strided convolutions down and up (Kerfoot et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        channels: features of each level, then of the bottleneck.
        strides: by how much each level shrinks the image.
        num_res_units: convolutions in each residual unit; 0 is a plain U-Net.
        **options: arguments of MONAI's UNet.

    Returns:
        The network.
    """
    options |= {"channels": channels, "strides": strides, "num_res_units": num_res_units}
    return _build(UNET, spatial_dims, in_channels, out_channels, options, multiple=math.prod(strides))


@register("dynunet", dimensions=3, foreign=DYNUNET, check=check_strides, outputs=dynunet_outputs)
@register("dynunet-2d", dimensions=2, foreign=DYNUNET, check=check_strides, outputs=dynunet_outputs)
def dynunet(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    strides: Axes = DYNAMIC_STRIDES,
    kernel_size: Axes | None = None,
    **options: Any,
) -> nn.Module:
    """DynUNet: the U-Net of nnU-Net, with kernels and strides of each level and axis (Isensee et al. 2021).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        strides: of each level, one number or one for each axis; the first is 1. `[1, [2, 2, 1], 2]` for thick slices.
        kernel_size: of each level, one number or one for each axis; None is 3.
        **options: arguments of MONAI's DynUNet.

    Returns:
        The network.

    Raises:
        ValueError: strides or kernels have another number of axes than the image.
    """
    kernels = kernel_size or [3] * len(strides)
    for key, each in (("strides", strides), ("kernel_size", kernels)):
        if any(len(_axes(one)) not in (1, spatial_dims) for one in each):
            raise ValueError(f"{key}={_lists(each)}: expected one number, or {spatial_dims}, of each level")
    options |= {"kernel_size": kernels, "strides": strides, "upsample_kernel_size": strides[1:]}
    whole = [(*_axes(one), *_axes(one) * (spatial_dims - len(_axes(one)))) for one in strides]
    multiple = math.lcm(*(math.prod(axis) for axis in zip(*whole, strict=True)))
    network: Any = _build(DYNUNET, spatial_dims, in_channels, out_channels, options, multiple=multiple)
    finest_first = list(network.upsamples)[::-1]
    network.levels = [
        Level(finest_first[i], network.filters[i], tuple(math.prod(axis) for axis in zip(*whole[: i + 1], strict=True)))
        for i in range(1, len(finest_first))
    ]
    return network


@register("vnet", dimensions=3, foreign=VNET)
@register("vnet-2d", dimensions=2, foreign=VNET)
def vnet(*, in_channels: int, out_channels: int, spatial_dims: int, **options: Any) -> nn.Module:
    """V-Net: residual stages of 5×5×5 convolutions (Milletari et al. 2016); 1, 2, 4, 8 or 16 channels in.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        **options: arguments of MONAI's VNet.

    Returns:
        The network.

    Raises:
        ValueError: another number of channels.
    """
    if 16 % in_channels:  # the input is repeated to 16 channels, and added to what the first convolutions make of it
        raise ValueError(f"takes 1, 2, 4, 8 or 16 channels, found {in_channels}; change preprocessing.channels")
    options["dropout_dim"] = spatial_dims  # whole channels, as in the paper
    return _build(VNET, spatial_dims, in_channels, out_channels, options, multiple=2**4)


@register("unetr", dimensions=3, foreign=UNETR, check=check_image)
@register("unetr-2d", dimensions=2, foreign=UNETR, check=check_image)
def unetr(
    *, in_channels: int, out_channels: int, spatial_dims: int, img_size: Count | Counts = 96, **options: Any
) -> nn.Module:
    """UNETR: vision transformer of 12 blocks as encoder (Hatamizadeh et al. 2021); images up to `img_size`.

    It learns what each patch's position means, so it takes one size only: smaller images are padded, larger refused.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        img_size: of the largest image, one number or one for each axis; multiples of 16.
        **options: arguments of MONAI's UNETR.

    Returns:
        The network.

    Raises:
        ValueError: `img_size` has another number of axes than the image.
    """
    size = _axes(img_size) * (spatial_dims if len(_axes(img_size)) == 1 else 1)
    if len(size) != spatial_dims:
        raise ValueError(f"img_size={_lists(img_size)}: expected one number, or {spatial_dims}")
    options["img_size"] = size
    network = _build(UNETR, spatial_dims, in_channels, out_channels, options, multiple=16)
    network.fixed_size = size  # type: ignore[assignment]
    for block in network.vit.blocks:  # type: ignore[union-attr]
        _unused(block, "norm_cross_attn")
    return network


@register("basicunetplusplus", dimensions=3, foreign=BASIC_UNETPP, outputs=unetpp_outputs)
@register("basicunetplusplus-2d", dimensions=2, foreign=BASIC_UNETPP, outputs=unetpp_outputs)
def basicunetplusplus(
    *,
    in_channels: int,
    out_channels: int,
    spatial_dims: int,
    features: Annotated[Counts, Field(min_length=6, max_length=6)] = (32, 32, 64, 128, 256, 32),
    **options: Any,
) -> nn.Module:
    """UNet++: nested U-Nets of five levels (Zhou et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        spatial_dims: 2 or 3.
        features: of the five levels, then of the last block.
        **options: arguments of MONAI's BasicUNetPlusPlus.

    Returns:
        The network.
    """
    options["features"] = features
    network: Any = _build(BASIC_UNETPP, spatial_dims, in_channels, out_channels, options, multiple=2**4)
    _unused(network, "final_conv_0_1", "final_conv_0_2", "final_conv_0_3")  # heads of deep supervision
    network.register_forward_hook(_first)
    # The shallower of its nested U-Nets answer at full size, too.
    nested = (network.upcat_0_3, network.upcat_0_2, network.upcat_0_1)
    network.levels = [Level(one, features[0], (1,) * spatial_dims) for one in nested]
    return network


def _build(
    foreign: Foreign, spatial_dims: int, in_channels: int, out_channels: int, options: dict[str, Any], *, multiple: int
) -> nn.Module:
    shape = {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": out_channels}
    network = foreign.build({**shape, **options})
    network.multiple = multiple  # type: ignore[assignment]
    return network


def _unused(module: nn.Module, *names: str) -> None:
    """Take away layers whose output nothing uses: without a gradient, they make training in several processes fail."""
    for name in names:
        if hasattr(module, name):
            setattr(module, name, nn.Identity())


def _first(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
    return outputs[0]


def _check_odd(key: str, kernels: Any) -> None:
    if any(size % 2 == 0 for one in _axes(kernels) for size in _axes(one)):
        raise ValueError(f"{key}={_lists(kernels)}: expected odd numbers; even ones shift the image")


def _axes(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _lists(value: Any) -> Any:
    return [_lists(one) for one in value] if isinstance(value, Sequence) else value
