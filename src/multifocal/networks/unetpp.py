"""UNet++ with an Inception-v4 encoder and scSE attention, as in SPARSeg (Rao et al., MICCAI 2025, section 3.2)."""

import warnings
from typing import Literal

from torch import nn

from multifocal.errors import UserError
from multifocal.networks.registry import register

MULTIPLE = 32  # five halvings in every encoder of segmentation_models_pytorch


@register("unetpp", dimensions=2)
def unetpp(
    *,
    in_channels: int,
    out_channels: int,
    encoder: str = "inceptionv4",
    attention: Literal["scse"] | None = "scse",
    depth: int = 5,
) -> nn.Module:
    """2D UNet++ with any encoder of segmentation_models_pytorch (Inception-v4) and scSE attention in the decoder.

    Weights start at random: the paper uses Xavier, which the recipe asks for.

    Raises:
        UserError: the extra is not installed, or the installed torchvision does not fit the installed torch.
        ValueError: unknown encoder or attention.
    """
    try:
        with warnings.catch_warnings():
            # torchvision's image decoders, which nothing here uses, are missing beside a CPU build of torch.
            warnings.filterwarnings("ignore", message="Failed to load image Python extension")
            import segmentation_models_pytorch as smp
    except ImportError as error:
        raise UserError(f"network unetpp needs {error.name}: pip install 'multifocal[smp]'") from error
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
    except KeyError as error:
        raise ValueError(f"encoder={encoder!r}: not an encoder of segmentation_models_pytorch") from error
    network.multiple = MULTIPLE
    return network
