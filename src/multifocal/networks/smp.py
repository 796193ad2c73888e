"""Networks of segmentation_models_pytorch: a decoder by name, with any encoder as its option; 2D.

A row here says what the package does not: the sizes that fit, and what follows from the depth. All other options are
arguments of its classes.
"""

import math
from collections.abc import Callable, Mapping
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

PACKAGE, ENCODER, VIT = "segmentation_models_pytorch", "resnet34", "tu-vit_base_patch16_224"
Depth = Annotated[int, Field(ge=3, le=5)]
VitDepth = Annotated[int, Field(ge=1, le=4)]


def _foreign(name: str) -> Foreign:
    given = ("encoder_name", "encoder_depth", "encoder_weights", "in_channels", "classes")
    return Foreign(PACKAGE, name, (*given, "activation", "aux_params", "upsampling"))


UNET, UNETPP, MANET, LINKNET = _foreign("Unet"), _foreign("UnetPlusPlus"), _foreign("MAnet"), _foreign("Linknet")
FPN, PSPNET, UPERNET, SEGFORMER = _foreign("FPN"), _foreign("PSPNet"), _foreign("UPerNet"), _foreign("Segformer")
DEEPLAB, DEEPLABPLUS, PAN, DPT = _foreign("DeepLabV3"), _foreign("DeepLabV3Plus"), _foreign("PAN"), _foreign("DPT")


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


def check_transformer(*, encoder: str = VIT, **others: Any) -> None:
    """Refuse an encoder that is no vision transformer of timm, and what `check_encoder` refuses.

    Args:
        encoder: `tu-` and a name of timm.
        **others: of `check_encoder`.

    Raises:
        ValueError: what is refused, or the package is not installed.
    """
    if not encoder.startswith("tu-"):
        raise ValueError(f"encoder {encoder!r} is no vision transformer of timm; choose one such as {VIT!r}")
    check_encoder(encoder=encoder, **others)


def decoder(
    of: Foreign,
    description: str,
    *,
    encoder: str = ENCODER,
    depth: int = 5,
    depths: Any = Depth,
    follows: Callable[[int], Mapping[str, Any]] = lambda depth: {},
    settled: Callable[[int], Mapping[str, Any]] = lambda depth: {},
) -> Callable[..., nn.Module]:
    """Return the builder of a class of the package.

    Args:
        of: the class.
        description: a line for lists.
        encoder: the default.
        depth: the default.
        depths: the type of the option.
        follows: from the depth to defaults of the class's arguments.
        settled: from the depth to arguments that are not the user's.

    Returns:
        The builder.
    """

    def build(
        *,
        in_channels: int,
        out_channels: int,
        encoder: str = encoder,
        depth: int = depth,
        weights: str | None = None,
        **options: Any,
    ) -> nn.Module:
        arguments = {**follows(depth), **options, **settled(depth)}
        return _build(of, in_channels, out_channels, encoder, depth, weights, arguments)

    build.__annotations__["depth"] = depths
    build.__qualname__ = f"decoder({of.name})"
    build.__doc__ = f"""{description}

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: a name of segmentation_models_pytorch, or `tu-` and a name of timm.
        depth: how often the encoder halves the image; of smp-dpt, how many of its layers are looked at.
        weights: of the encoder: a safetensors file, or the hub's name ("imagenet"), which is fetched; None is random.
        **options: arguments of smp.{of.name}.

    Returns:
        The network.
    """
    return build


def _halving(depth: int) -> dict[str, Any]:
    return {"decoder_channels": (256, 128, 64, 32, 16)[:depth]}


ANY: dict[str, Any] = {"check": check_encoder, "starts": ("weights",)}
register("smp-unet", foreign=UNET, dimensions=2, **ANY)(
    decoder(UNET, "U-Net with any encoder (Ronneberger et al. 2015).", follows=_halving)
)
register("smp-unetplusplus", foreign=UNETPP, dimensions=2, **ANY)(
    decoder(
        UNETPP,
        "UNet++ with any convolutional encoder: nested skip connections (Zhou et al. 2018).",
        follows=_halving,
    )
)
register("smp-manet", foreign=MANET, dimensions=2, **ANY)(
    decoder(
        MANET, "MA-Net with any encoder: attention over positions and channels (Fan et al. 2020).", follows=_halving
    )
)
register("smp-linknet", foreign=LINKNET, dimensions=2, **ANY)(
    decoder(
        LINKNET,
        "LinkNet with any convolutional encoder: skip connections are added (Chaurasia & Culurciello 2017).",
    )
)
register("smp-fpn", foreign=FPN, dimensions=2, **ANY)(
    decoder(
        FPN,
        "Feature pyramid network with any encoder (Kirillov et al. 2017).",
        settled=lambda depth: {"upsampling": 2 ** (depth - 3)},  # the pyramid has the four deepest levels
    )
)
register("smp-pspnet", foreign=PSPNET, dimensions=2, **ANY)(
    decoder(
        PSPNET,
        "PSPNet with any encoder: pools over regions of several sizes (Zhao et al. 2017); coarse outlines.",
        depth=3,
        settled=lambda depth: {"upsampling": 2**depth},
    )
)
register("smp-pan", foreign=PAN, dimensions=2, **ANY)(
    decoder(
        PAN,
        "PAN with any encoder that dilates: attention over a feature pyramid (Li et al. 2018).",
        settled=lambda depth: {"upsampling": 4},
    )
)
register("smp-upernet", foreign=UPERNET, dimensions=2, **ANY)(
    decoder(UPERNET, "UPerNet with any encoder: pooling and a feature pyramid in one (Xiao et al. 2018).")
)
register("smp-segformer", foreign=SEGFORMER, dimensions=2, **ANY)(
    decoder(
        SEGFORMER,
        "SegFormer: a decoder of linear layers (Xie et al. 2021), with any encoder (its own: mit_b0 to mit_b5).",
        encoder="mit_b0",
    )
)
register("smp-deeplabv3", foreign=DEEPLAB, dimensions=2, **ANY)(
    decoder(
        DEEPLAB,
        "DeepLabv3 with any encoder that dilates: dilated convolutions (Chen et al. 2017); coarse outlines.",
    )
)
register("smp-deeplabv3plus", foreign=DEEPLABPLUS, dimensions=2, **ANY)(
    decoder(
        DEEPLABPLUS,
        "DeepLabv3+ with any encoder that dilates: DeepLabv3 and one skip connection (Chen et al. 2018).",
    )
)
register("smp-dpt", foreign=DPT, dimensions=2, check=check_transformer, starts=("weights",))(
    decoder(
        DPT,
        "DPT: convolutions on what several layers of a vision transformer of timm see (Ranftl et al. 2021).",
        encoder=VIT,
        depth=4,
        depths=VitDepth,
        follows=lambda depth: {"decoder_intermediate_channels": (256, 512, 1024, 1024)[:depth]},
        settled=lambda depth: {"dynamic_img_size": True},  # learnt positions are interpolated: any size fits
    )
)


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
    network.multiple = _multiple(network, encoder, depth)  # type: ignore[assignment]
    for module in network.decoder.modules():  # type: ignore[union-attr]
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNormOfOne
    if depth < 5:
        _freeze_unused(network, in_channels)
    return network


def _multiple(network: Any, encoder: str, depth: int) -> int:
    if type(network).__name__ == "DPT":  # patches, which the decoder takes for levels of a half, a quarter, ...
        return math.lcm(*network.encoder.output_strides, 2 ** (depth + 1))
    # Encoders of patches, and timm's, halve as often as they do, whatever the depth.
    halved = 32 if encoder.startswith(("mit_", "tu-")) else 2**depth
    if type(network).__name__ == "PAN":  # its attention halves the deepest level three times more
        return 8 * network.encoder.output_stride
    return halved


def _start(encoder: nn.Module, name: str, depth: int, in_channels: int, weights: str) -> None:
    """Give an encoder pretrained weights; their first layer, for three channels, becomes one for the image's."""
    package = _encoders()
    if _is_file(weights):
        if type(encoder).__name__ == "TimmViTEncoder":
            pretrained = type(encoder)(name.removeprefix("tu-"), pretrained=False, depth=depth, dynamic_img_size=True)
        else:
            pretrained = package.get_encoder(name, in_channels=3, depth=depth, weights=None)
        try:
            pretrained.load_state_dict(read_weights(weights))
        except (RuntimeError, KeyError) as error:
            raise ValueError(
                f"weights={weights}: do not fit encoder {name}; a file of that encoder is needed"
            ) from error
        if in_channels != 3:
            package._utils.patch_first_conv(pretrained, new_in_channels=in_channels)
    else:
        try:
            pretrained = package.get_encoder(name, in_channels=in_channels, depth=depth, weights=weights)
        except Exception as error:  # noqa: BLE001  (whatever a download raises)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"weights={weights} of encoder {name} cannot be fetched ({reason}); give the path of a safetensors file"
            ) from error
    encoder.load_state_dict(pretrained.state_dict())


def _freeze_unused(network: Any, in_channels: int) -> None:
    """Freeze layers that an encoder has beyond the depth: without a gradient, they make several processes fail."""
    network.eval()
    with torch.enable_grad():
        network(torch.zeros(1, in_channels, *[max(64, network.multiple)] * 2)).sum().backward()
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
