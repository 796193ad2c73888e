"""Which number format to compute in."""

from typing import Literal

import torch

Precision = Literal["auto", "32", "bf16", "16"]


def autocast_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Return the type for autocast, or None for plain 32 bits.

    `auto` is bfloat16 where the processor computes in it, and 32 bits elsewhere: emulated bfloat16 is slower than
    float32.

    Example:
        >>> autocast_type("32", torch.device("cpu")) is None, autocast_type("bf16", torch.device("cpu"))
        (True, torch.bfloat16)
    """
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else None
    return {"32": None, "bf16": torch.bfloat16, "16": torch.float16}[precision]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public question for the CPU; oneDNN computes bfloat16 natively from AVX-512-BF16 on.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
