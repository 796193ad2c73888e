"""What to compute on, and in which number format."""

import re
from typing import TYPE_CHECKING, Literal

from multifocal.errors import UserError, first_line

if TYPE_CHECKING:  # options are checked without loading torch
    import torch

Precision = Literal["auto", "32", "bf16", "16"]
_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def check_device(device: str) -> None:
    """Raise `UserError` unless it names a device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. None needs to be there.

    Args:
        device: the name.

    Raises:
        UserError: it is none of these.

    Example:
        >>> check_device("cuda:1")
        >>> check_device("gpu")
        Traceback (most recent call last):
        multifocal.errors.UserError: device 'gpu': choose from auto, cpu, cuda, cuda:N, mps
    """
    if device not in {*_DEVICES} - {"cuda:N"} and not re.fullmatch(r"cuda:[0-9]+", device):
        raise UserError(f"device '{device}': choose from {', '.join(_DEVICES)}")


def choose_device(device: str) -> "torch.device":
    """Return the device to compute on, after trying it.

    Args:
        device: `cpu`, `cuda`, `cuda:N`, `mps`, or `auto`: the first of CUDA, MPS and CPU that is there.

    Returns:
        The device.

    Raises:
        UserError: there is no such device, or it does not work.

    Example:
        >>> choose_device("cpu").type
        'cpu'
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{device}' cannot be used here: {first_line(error)}") from error
    return chosen


def autocast_type(precision: Precision, device: "torch.device") -> "torch.dtype | None":
    """Return the type for autocast, or None for plain 32 bits.

    Args:
        precision: `32`, `bf16`, `16`, or `auto`: bfloat16 where the processor computes in it, and 32 bits elsewhere,
            for emulated bfloat16 is slower than float32.
        device: what computes.

    Returns:
        The type, or None.

    Example:
        >>> import torch
        >>> autocast_type("32", torch.device("cpu")) is None, autocast_type("bf16", torch.device("cpu"))
        (True, torch.bfloat16)
    """
    import torch

    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else None
    return {"32": None, "bf16": torch.bfloat16, "16": torch.float16}[precision]


def _has_bfloat16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # torch has no public question for the CPU; oneDNN computes bfloat16 natively from AVX-512-BF16 on.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
