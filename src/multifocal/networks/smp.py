"""Networks of segmentation_models_pytorch: a decoder by name, with any encoder as its option; 2D.

A function here says what the package does not: the sizes that fit, and what follows from the depth. All other options
are arguments of its classes.
"""

from difflib import get_close_matches
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from multifocal.errors import unknown_name
from multifocal.networks.foreign import Foreign
from multifocal.networks.registry import register
from multifocal.weights import read_weights

PACKAGE, ENCODER = "segmentation_models_pytorch", "resnet34"
Depth = Annotated[int, Field(ge=3, le=5)]
STARTS = ("weights",)


def _foreign(name: str) -> Foreign:
    given = ("encoder_name", "encoder_depth", "encoder_weights", "in_channels", "classes")
    return Foreign(PACKAGE, name, (*given, "activation", "aux_params", "upsampling"))


UNET, UNETPP, MANET, LINKNET = _foreign("Unet"), _foreign("UnetPlusPlus"), _foreign("MAnet"), _foreign("Linknet")
FPN, PSPNET, UPERNET, SEGFORMER = _foreign("FPN"), _foreign("PSPNet"), _foreign("UPerNet"), _foreign("Segformer")
DEEPLAB, DEEPLABPLUS = _foreign("DeepLabV3"), _foreign("DeepLabV3Plus")


def check_encoder(*, encoder: str = ENCODER, weights: str | None = None, **_: Any) -> None:
    """Refuse an encoder that the package does not have, and pretrained weights that it does not know.

    Args:
        encoder: a name of segmentation_models_pytorch, or `tu-` and a name of timm.
        weights: a file, which is not looked at, or the hub's name of weights.

    Raises:
        ValueError: what is refused, or the package is not installed.
    """
    if encoder == ENCODER and weights is None:
        return  # nothing to import for
    known = _encoders().encoders
    if encoder.startswith("tu-"):
        import timm

        if not timm.is_model(encoder.removeprefix("tu-")):
            near = get_close_matches(encoder.removeprefix("tu-"), timm.list_models(), n=1)
            hint = f"; did you mean 'tu-{near[0]}'?" if near else ""
            raise ValueError(f"unknown encoder {encoder!r} of timm{hint}")
    elif encoder not in known:
        raise unknown_name("encoder", encoder, known)
    if weights is None or _is_file(weights):
        return
    if encoder.startswith("tu-"):
        raise ValueError(f"weights={weights}: for timm's encoders give the path of a safetensors file")
    if weights not in known[encoder]["pretrained_settings"]:
        raise unknown_name(f"weights of encoder {encoder}", weights, known[encoder]["pretrained_settings"])


@register("smp-unet", dimensions=2, foreign=UNET, check=check_encoder, starts=STARTS)
def unet(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """U-Net with any encoder (Ronneberger et al. 2015).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: a name of segmentation_models_pytorch, or `tu-` and a name of timm.
        depth: how often the encoder halves the image.
        weights: of the encoder: a safetensors file, or the hub's name ("imagenet"), which is fetched; None is random.
        **options: arguments of smp.Unet.

    Returns:
        The network.
    """
    options.setdefault("decoder_channels", (256, 128, 64, 32, 16)[:depth])
    return _build(UNET, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-unetplusplus", dimensions=2, foreign=UNETPP, check=check_encoder, starts=STARTS)
def unetplusplus(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """UNet++ with any convolutional encoder: nested skip connections (Zhou et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.UnetPlusPlus.

    Returns:
        The network.
    """
    options.setdefault("decoder_channels", (256, 128, 64, 32, 16)[:depth])
    return _build(UNETPP, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-manet", dimensions=2, foreign=MANET, check=check_encoder, starts=STARTS)
def manet(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """MA-Net with any encoder: attention over positions and channels (Fan et al. 2020).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.MAnet.

    Returns:
        The network.
    """
    options.setdefault("decoder_channels", (256, 128, 64, 32, 16)[:depth])
    return _build(MANET, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-linknet", dimensions=2, foreign=LINKNET, check=check_encoder, starts=STARTS)
def linknet(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """LinkNet with any convolutional encoder: skip connections are added (Chaurasia & Culurciello 2017).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.Linknet.

    Returns:
        The network.
    """
    return _build(LINKNET, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-fpn", dimensions=2, foreign=FPN, check=check_encoder, starts=STARTS)
def fpn(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """Feature pyramid network with any encoder (Kirillov et al. 2017).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.FPN.

    Returns:
        The network.
    """
    options["upsampling"] = 2 ** (depth - 3)  # the pyramid has the four deepest levels
    return _build(FPN, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-pspnet", dimensions=2, foreign=PSPNET, check=check_encoder, starts=STARTS)
def pspnet(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 3,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """PSPNet with any encoder: pools over regions of several sizes (Zhao et al. 2017); coarse outlines.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.PSPNet.

    Returns:
        The network.
    """
    options["upsampling"] = 2**depth
    return _build(PSPNET, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-upernet", dimensions=2, foreign=UPERNET, check=check_encoder, starts=STARTS)
def upernet(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """UPerNet with any encoder: pooling and a feature pyramid in one (Xiao et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.UPerNet.

    Returns:
        The network.
    """
    return _build(UPERNET, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-segformer", dimensions=2, foreign=SEGFORMER, check=check_encoder, starts=STARTS)
def segformer(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = "mit_b0",
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """SegFormer: a decoder of linear layers (Xie et al. 2021), with any encoder (its own: mit_b0 to mit_b5).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.Segformer.

    Returns:
        The network.
    """
    return _build(SEGFORMER, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-deeplabv3", dimensions=2, foreign=DEEPLAB, check=check_encoder, starts=STARTS)
def deeplabv3(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """DeepLabv3 with any encoder that dilates: dilated convolutions (Chen et al. 2017); coarse outlines.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.DeepLabV3.

    Returns:
        The network.
    """
    return _build(DEEPLAB, in_channels, out_channels, encoder, depth, weights, options)


@register("smp-deeplabv3plus", dimensions=2, foreign=DEEPLABPLUS, check=check_encoder, starts=STARTS)
def deeplabv3plus(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = ENCODER,
    depth: Depth = 5,
    weights: str | None = None,
    **options: Any,
) -> nn.Module:
    """DeepLabv3+ with any encoder that dilates: DeepLabv3 and one skip connection (Chen et al. 2018).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: as of smp-unet.
        depth: how often the encoder halves the image.
        weights: as of smp-unet.
        **options: arguments of smp.DeepLabV3Plus.

    Returns:
        The network.
    """
    return _build(DEEPLABPLUS, in_channels, out_channels, encoder, depth, weights, options)


class BatchNormOfOne(nn.BatchNorm2d):
    """Batch normalisation that takes the running statistics where a batch has one value a channel, and so no variance.

    So it is where DeepLab and UPerNet pool over the whole of a single image.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise.

        Args:
            input: `(B, C, X, Y)`.

        Returns:
            The like.
        """
        if not self.training or input.numel() > input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def _build(
    foreign: Foreign,
    in_channels: int,
    out_channels: int,
    encoder: str,
    depth: int,
    weights: str | None,
    options: dict[str, Any],
) -> nn.Module:
    check_encoder(encoder=encoder, weights=weights)
    given = {"encoder_name": encoder, "encoder_depth": depth, "encoder_weights": None}
    network = foreign.build({**given, "in_channels": in_channels, "classes": out_channels, **options})
    if weights is not None:
        _start(network.encoder, encoder, depth, in_channels, weights)  # type: ignore[arg-type]
    # Encoders of patches, and timm's, halve as often as they do, whatever the depth.
    network.multiple = 32 if encoder.startswith(("mit_", "tu-")) else 2**depth  # type: ignore[assignment]
    for module in network.decoder.modules():  # type: ignore[union-attr]
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNormOfOne
    if depth < 5:
        _freeze_unused(network, in_channels)
    return network


def _start(encoder: nn.Module, name: str, depth: int, in_channels: int, weights: str) -> None:
    """Give an encoder pretrained weights; their first layer, for three channels, becomes one for the image's."""
    package = _encoders()
    if _is_file(weights):
        pretrained = package.get_encoder(name, in_channels=3, depth=depth, weights=None)
        try:
            pretrained.load_state_dict(read_weights(weights))
        except (RuntimeError, KeyError) as error:
            raise ValueError(
                f"weights={weights}: do not fit encoder {name}; a file of that encoder is needed"
            ) from error
        if in_channels != 3:
            pretrained.set_in_channels(in_channels, pretrained=True)
    else:
        try:
            pretrained = package.get_encoder(name, in_channels=in_channels, depth=depth, weights=weights)
        except Exception as error:  # noqa: BLE001  (whatever a download raises)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"weights={weights} of encoder {name} cannot be fetched ({reason}); give the path of a safetensors file"
            ) from error
    encoder.load_state_dict(pretrained.state_dict())


def _freeze_unused(network: nn.Module, in_channels: int) -> None:
    """Freeze layers that an encoder has beyond the depth: without a gradient, they make several processes fail."""
    network.eval()
    with torch.enable_grad():
        network(torch.zeros(1, in_channels, 64, 64)).sum().backward()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.grad is not None)
        parameter.grad = None
    network.train()


def _encoders() -> Any:
    Foreign(PACKAGE, "Unet").load()  # says what is missing
    import segmentation_models_pytorch

    return segmentation_models_pytorch.encoders


def _is_file(weights: str) -> bool:
    return any(sign in weights for sign in "./\\")
