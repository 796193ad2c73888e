"""UNet++ with an Inception-v4 encoder and scSE attention, as in SPARSeg (Rao et al., MICCAI 2025, section 3.2)."""

import warnings
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from multifocal.errors import UserError, unknown_name
from multifocal.networks.registry import register


@register("unetpp", dimensions=2, package="segmentation_models_pytorch")
def unetpp(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = "inceptionv4",
    attention: Literal["scse"] | None = "scse",
    depth: Annotated[int, Field(ge=3, le=5)] = 5,
) -> nn.Module:
    """UNet++ with any encoder of segmentation_models_pytorch (Inception-v4), scSE attention in the decoder.

    Weights start at random: the paper uses Xavier, which the recipe asks for.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the logits.
        encoder: a name of segmentation_models_pytorch.
        attention: scSE in every block of the decoder, or none.
        depth: how often the encoder halves the image.

    Returns:
        The network: `(B, C, X, Y)`, sizes multiples of its `multiple`, to logits `(B, K, X, Y)`.

    Raises:
        UserError: the extra is not installed, or the installed torchvision does not fit the installed torch.
        ValueError: an encoder that UNet++ cannot have.
    """
    try:
        with warnings.catch_warnings():
            # torchvision's image decoders, which nothing here uses, are missing beside a CPU build of torch.
            warnings.filterwarnings("ignore", message="Failed to load image Python extension")
            import segmentation_models_pytorch as smp
    except ImportError as error:
        raise UserError(f"network unetpp needs {error.name or error}: pip install 'multifocal[smp]'") from error
    except RuntimeError as error:
        raise UserError(
            f"network unetpp: the installed torchvision does not fit the installed torch ({error}); "
            "install the matching pair from https://pytorch.org/get-started/locally"
        ) from error
    try:
        network = smp.UnetPlusPlus(
            encoder,
            encoder_depth=depth,
            encoder_weights=None,
            decoder_channels=(256, 128, 64, 32, 16)[:depth],
            decoder_attention_type=attention,
            in_channels=in_channels,
            classes=out_channels,
        )
    except (KeyError, RuntimeError) as error:  # RuntimeError: unknown to timm, which knows the names in tu-…
        raise unknown_name("encoder", encoder, smp.encoders.get_encoder_names()) from error
    network.multiple = 2**depth
    return network
