"""What to compute on, and in which number format."""

from typing import TYPE_CHECKING, Literal

from multifocal.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
Precision = Literal["auto", "32", "bf16", "16"]


def check_device(device: str) -> None:
    """Raise `UserError` unless it is `auto`, `cpu` or `cuda`."""
    if device not in DEVICES:
        raise UserError(f"device '{device}': choose from {', '.join(DEVICES)}")


def choose_device(device: str) -> "torch.device":
    """Return the device to compute on; `auto` takes the GPU where there is one."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).cpu()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{device}' cannot be used here: {str(error).splitlines()[0]}") from error
    return chosen


def autocast_type(precision: Precision, device: "torch.device") -> "torch.dtype | None":
    """Return the type for autocast, or None for plain 32 bits."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else None
    return {"32": None, "bf16": torch.bfloat16, "16": torch.float16}[precision]


def _has_bfloat16(device: "torch.device") -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public question for the CPU; oneDNN computes bfloat16 natively from AVX-512-BF16 on.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
