"""The losses by name, on MONAI's terms: sigmoid inside, batches of `(B, C, *spatial)`.

Seeds 000 and 002 print `(1 - DiceLoss)` and `log(1 / (1 + HD))`, which reward errors when minimised. As in the authors'
library, the sums here are of the losses themselves and of `log(1 + HDT)`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from multifocal.config import check_arguments
from multifocal.errors import unknown_name
from multifocal.losses.compound import WeightedSum

_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def _named(name: str) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    def add(builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _BUILDERS[name] = builder
        return builder

    return add


def names() -> tuple[str, ...]:
    """Return the names of all losses."""
    return tuple(_BUILDERS)


def describe(name: str) -> str:
    """Return the one-line definition of a loss."""
    return (inspect.getdoc(_builder(name)) or "").splitlines()[0]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise `UserError` for an option that the loss does not have, or a value that it cannot be."""
    check_arguments(_builder(name), options, where=f"options of loss {name}")


def build(name: str, **options: Any) -> WeightedSum:
    """Return the named loss: `loss(logits, target)` is a scalar, `loss.terms(logits, target)` its unweighted terms.

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> loss = build("tversky", alpha=0.3, beta=0.7)
        >>> round(float(loss(torch.full((1, 1, 8, 8), 9.0), torch.ones(1, 1, 8, 8))), 3)
        0.0
    """
    check_options(name, options)
    built = _builder(name)(**options)
    return built if isinstance(built, WeightedSum) else WeightedSum({name: built}, {name: 1.0})


@_named("dice")
def dice(*, batch: bool = False) -> nn.Module:
    """`1 - 2Σpy / (Σp + Σy)`, per image, or over the batch with `batch: true`."""
    from monai.losses import DiceLoss

    return DiceLoss(sigmoid=True, batch=batch)


@_named("focal")
def focal(*, gamma: float = 2.0) -> nn.Module:
    """`-(1 - p_t)^γ log p_t`, mean over voxels."""
    from monai.losses import FocalLoss

    return FocalLoss(gamma=gamma)


@_named("dice-ce")
def dice_ce(*, batch: bool = False) -> nn.Module:
    """`Dice + cross-entropy`."""
    return WeightedSum({"dice": dice(batch=batch), "ce": _BinaryCrossEntropy()}, {"dice": 1.0, "ce": 1.0})


@_named("dice-focal")
def dice_focal(*, gamma: float = 2.0, balance: float | None = None, batch: bool = False) -> nn.Module:
    """`Dice + focal(γ)` as MONAI sums them; `balance: α` gives the paper's `(1-α) Dice + α focal`."""
    weights = (1.0, 1.0) if balance is None else (1.0 - balance, balance)
    return WeightedSum(
        {"dice": dice(batch=batch), "focal": focal(gamma=gamma)}, {"dice": weights[0], "focal": weights[1]}
    )


@_named("tversky")
def tversky(*, alpha: float = 0.3, beta: float = 0.7, batch: bool = False) -> nn.Module:
    """`1 - Σpy / (Σpy + α Σp(1-y) + β Σ(1-p)y)`: α weighs false positives, β false negatives."""
    from monai.losses import TverskyLoss

    return TverskyLoss(sigmoid=True, alpha=alpha, beta=beta, batch=batch)


@_named("hausdorff-dt")
def hausdorff_dt(*, alpha: float = 2.0) -> nn.Module:
    """`mean (p - y)² (d_p^α + d_y^α)` with distance transforms in voxels (Karimi & Salcudean 2019)."""
    from monai.losses import HausdorffDTLoss

    return HausdorffDTLoss(sigmoid=True, include_background=True, alpha=alpha)


@_named("log-hausdorff-dt")
def log_hausdorff_dt(*, alpha: float = 2.0) -> nn.Module:
    """`log(1 + HDT)`."""
    from monai.losses import LogHausdorffDTLoss

    return LogHausdorffDTLoss(sigmoid=True, include_background=True, alpha=alpha)


@_named("dice-focal-hausdorff")
def dice_focal_hausdorff() -> nn.Module:
    """`0.9 (0.5 Dice + 0.5 focal) + 0.1 log(1 + HDT)` (seed 000, eq. 5)."""
    terms = {"dice": dice(), "focal": focal(), "log-hausdorff-dt": log_hausdorff_dt()}
    return WeightedSum(terms, {"dice": 0.45, "focal": 0.45, "log-hausdorff-dt": 0.1})


@_named("tversky-hausdorff")
def tversky_hausdorff() -> nn.Module:
    """`0.9 Tversky(0.3, 0.7) + 0.1 log(1 + HDT)` (seed 000, eq. 6)."""
    return WeightedSum(
        {"tversky": tversky(), "log-hausdorff-dt": log_hausdorff_dt()}, {"tversky": 0.9, "log-hausdorff-dt": 0.1}
    )


@_named("tlhf")
def tlhf() -> nn.Module:
    """`1.5 Tversky(0.3, 0.7) + 2 log(1 + HDT) + γ_F focal(γ=3)`, γ_F from 2 to 4 over training (seed 001, eq. 4)."""
    terms = {"tversky": tversky(), "log-hausdorff-dt": log_hausdorff_dt(), "focal": focal(gamma=3.0)}
    return WeightedSum(terms, {"tversky": 1.5, "log-hausdorff-dt": 2.0, "focal": (2.0, 4.0)})


class _BinaryCrossEntropy(nn.Module):
    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, target)


def _builder(name: str) -> Callable[..., nn.Module]:
    if name not in _BUILDERS:
        raise unknown_name("loss", name, names())
    return _BUILDERS[name]
