"""The losses by name: how they are built, and the published ones, one definition each.

Usman et al. 2025 (arXiv:2502.09148, eqs. 2, 5 and 6) print `(1 - DiceLoss)` and `log(1 / (1 + HD))`, which reward
errors when minimised. As in the authors' library, the sums here are of the losses themselves and of `log(1 + HDT)`.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal

from multifocal.config import NonNegative, Share, check_arguments
from multifocal.errors import UserError, unknown_name
from multifocal.losses import criteria
from multifocal.losses.criteria import (
    Criterion,
    CrossEntropy,
    Dice,
    Focal,
    GeneralizedDice,
    Hausdorff,
    Jaccard,
    LogHausdorff,
    Over,
    Tversky,
)
from multifocal.losses.from_config import from_config
from multifocal.losses.inputs import Options
from multifocal.losses.lesion_terms import Center, FalseDiscoveryRate, FalseNegativeRate, Proximity
from multifocal.losses.loss import CompoundLoss, Expression
from multifocal.losses.ms_ssim import MSSSIM
from multifocal.losses.regions import Image
from multifocal.losses.schedules import LinearRamp
from multifocal.registry import Registry

Builder = Callable[..., Expression]
COMPOUND = "compound"  # not one loss but the form of any: its terms are options
_COMMON = tuple(field.name for field in fields(Options))
LOSSES: Registry[Builder] = Registry("loss", group="multifocal.losses")


def register(name: str, /) -> Callable[[Builder], Builder]:
    """Return a decorator that makes a function known as the loss of that name.

    Args:
        name: what users type.

    Returns:
        A decorator of a function with keyword-only options that returns terms and weights; its docstring's first line
        is the loss's description.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> from multifocal import losses
        >>> @losses.register("half-dice")
        ... def half_dice(*, batch: bool = False) -> losses.Expression:
        ...     '''`0.5 Dice`.'''
        ...     return 0.5 * losses.Dice().over("image", batch=batch)
        >>> losses.build("half-dice", batch=True).weights
        {'dice': 0.5}
    """
    return LOSSES.register(name)


def names() -> tuple[str, ...]:
    """Return the names of all losses.

    Returns:
        The published losses in the order of this file, then those of other packages.

    Example:
        >>> names()[:3]
        ('dice', 'dice-ce', 'generalized-dice')
    """
    return LOSSES.names()


def describe(name: str) -> str:
    """Return the one-line definition of a loss.

    Args:
        name: one of `names()`, or "compound".

    Returns:
        The first line of its description.

    Raises:
        UserError: there is no such loss.

    Example:
        >>> describe("cc-dice")
        "Dice over the lesions' Voronoi cells (CC-Dice)."
    """
    return (inspect.getdoc(_builder(name)) or "").partition("\n")[0]


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raise `UserError` for an option that the loss does not have, or a value that it cannot be.

    Args:
        name: one of `names()`, or "compound".
        options: by name, as `build` takes them.

    Raises:
        UserError: the name, an option or a value is none of the loss's.

    Example:
        >>> check_options("ici", {"side": 2})
        Traceback (most recent call last):
        multifocal.errors.UserError: options of loss ici: Center: side=2; expected an odd number of voxels
    """
    _built(name, options)


def build(name: str, /, **options: Any) -> CompoundLoss:
    """Return the named loss: `loss(logits, target)` is a scalar, `loss.terms(logits, target)` its unweighted terms.

    Args:
        name: one of `names()`, or "compound", whose option `terms` lists any terms and weights.
        **options: those of the loss, and of every loss: activation, spacing, connectivity, threshold,
            include_background, relaxed, ignore, class_weights, reduction, soft_labels,
            label_smoothing (see `Options`).

    Returns:
        The loss as a module.

    Raises:
        UserError: the name or an option is unknown.

    Example:
        >>> import torch
        >>> loss = build("tversky", alpha=0.3, beta=0.7)
        >>> round(float(loss(torch.full((1, 1, 8, 8), 9.0), torch.ones(1, 1, 8, 8))), 3)
        0.0
    """
    return _built(name, options)


Instance = Literal["dice", "gdf"]
Weighting = Literal["monai", "normalized"]
Empty = Literal["diagonal", "zero"]


@LOSSES.register("dice")
def dice(*, batch: bool = False) -> Expression:
    """`1 - 2Σpy / (Σp + Σy)`, per image, or over the batch with `batch: true`."""
    return Over(Dice(), Image(batch=batch))


@LOSSES.register("dice-ce")
def dice_ce(*, batch: bool = False) -> Expression:
    """`Dice + cross-entropy`."""
    return Over(Dice(), Image(batch=batch)) + CrossEntropy()


@LOSSES.register("generalized-dice")
def generalized_dice(*, weighting: Weighting = "monai", batch: bool = False) -> Expression:
    """`1 - 2 Σ_c w_c Σpy / Σ_c w_c (Σp + Σy)`, `w_c = 1/(Σy)²` (Sudre 2017)."""
    return Over(GeneralizedDice(weighting=weighting), Image(batch=batch))


@LOSSES.register("focal")
def focal(*, gamma: float = 2.0, alpha: float | None = None) -> Expression:
    """`-(1 - p_t)^γ log p_t`, mean over voxels (Lin 2017)."""
    return Focal(gamma=gamma, alpha=alpha)


@LOSSES.register("tversky")
def tversky(*, alpha: float = 0.3, beta: float = 0.7, batch: bool = False) -> Expression:
    """`1 - Σpy / (Σpy + α Σp(1-y) + β Σ(1-p)y)`: α weighs false positives, β false negatives."""
    return Over(Tversky(alpha=alpha, beta=beta), Image(batch=batch))


@LOSSES.register("jaccard")
def jaccard(*, batch: bool = False) -> Expression:
    """`1 - Σpy / (Σp + Σy - Σpy)`."""
    return Over(Jaccard(), Image(batch=batch))


@LOSSES.register("dice-focal")
def dice_focal(*, gamma: float = 2.0, balance: Share | None = None, batch: bool = False) -> Expression:
    """`Dice + focal(γ)` as MONAI sums them; `balance: α` gives the paper's `(1-α) Dice + α focal`."""
    weights = (1.0, 1.0) if balance is None else (1.0 - balance, balance)
    return weights[0] * Over(Dice(), Image(batch=batch)) + weights[1] * Focal(gamma=gamma)


@LOSSES.register("gdf")
def gdf(*, gamma: float = 2.0, weighting: Weighting = "monai") -> Expression:
    """`generalized Dice + focal(γ)`."""
    return criteria.gdf(gamma=gamma, weighting=weighting)


@LOSSES.register("inverse-weighted-dice")
def inverse_weighted_dice() -> Expression:
    """Dice of voxels weighted by the inverse size of their component (Shirokikh 2020)."""
    return Dice().over("inverse-weighted")


@LOSSES.register("hausdorff-dt")
def hausdorff_dt(*, alpha: float = 2.0, empty: Empty = "diagonal") -> Expression:
    """`mean (p - y)² (d_p^α + d_y^α)` with distances to the border of each side (Karimi & Salcudean 2019)."""
    return Hausdorff(alpha=alpha, empty=empty)


@LOSSES.register("log-hausdorff-dt")
def log_hausdorff_dt(*, alpha: float = 2.0, empty: Empty = "diagonal") -> Expression:
    """`log(1 + HDT)`."""
    return LogHausdorff(alpha=alpha, empty=empty)


@LOSSES.register("dice-focal-hausdorff")
def dice_focal_hausdorff() -> Expression:
    """`0.9 (0.5 Dice + 0.5 focal) + 0.1 log(1 + HDT)` (Usman 2025, eq. 5)."""
    return 0.45 * Dice() + 0.45 * Focal() + 0.1 * LogHausdorff()


@LOSSES.register("tversky-hausdorff")
def tversky_hausdorff() -> Expression:
    """`0.9 Tversky(0.3, 0.7) + 0.1 log(1 + HDT)` (Usman 2025, eq. 6)."""
    return 0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()


@LOSSES.register("tlhf")
def tlhf() -> Expression:
    """`1.5 Tversky(0.3, 0.7) + 2 log(1 + HDT) + γ_F focal(γ=3)`, γ_F from 2 to 4 over training (Rao 2025, eq. 4)."""
    return 1.5 * Tversky(alpha=0.3, beta=0.7) + 2 * LogHausdorff() + LinearRamp(2.0, 4.0) * Focal(gamma=3.0)


@LOSSES.register("bce-msssim-jaccard")
def bce_msssim_jaccard() -> Expression:
    """`BCE + (1 - MS-SSIM) + Jaccard` (Koirala et al.)."""
    return CrossEntropy() + MSSSIM() + Jaccard()


@LOSSES.register("blob-dice")
def blob_dice(*, image: NonNegative = 2.0, blobs: NonNegative = 1.0) -> Expression:
    """`2 Dice(image) + 1 Dice(blobs)` (Kofler 2023)."""
    return image * Dice() + blobs * Dice().over("blobs")


@LOSSES.register("blob-gdf")
def blob_gdf(
    *, image: NonNegative = 2.0, blobs: NonNegative = 1.0, gamma: float = 2.0, weighting: Weighting = "monai"
) -> Expression:
    """`2 GDF(image) + 1 GDF(blobs)` (Kofler 2023)."""
    criterion = criteria.gdf(gamma=gamma, weighting=weighting)
    return image * criterion + blobs * criterion.over("blobs")


@LOSSES.register("ici")
def ici(*, criterion: Instance = "dice", side: int = 3, weighting: Weighting = "monai") -> Expression:
    """`0.25 GDF + 0.5 Dice over instances + 0.25 center` (Rachmadi 2024, eq. 12)."""
    instances = _instance(criterion, weighting).over("instances")
    return 0.25 * criteria.gdf(weighting=weighting) + 0.5 * instances + 0.25 * Center(side=side)


@LOSSES.register("false")
def false(*, weighting: Weighting = "monai") -> Expression:
    """`GDF + false rate + missed rate` (Rachmadi 2024, eq. 13)."""
    return criteria.gdf(weighting=weighting) + FalseDiscoveryRate() + FalseNegativeRate()


@LOSSES.register("proximity")
def proximity(
    *,
    criterion: Instance = "dice",
    combine: Literal["difference", "sum"] = "difference",
    weighting: Weighting = "monai",
) -> Expression:
    """`GDF + 0.1 proximity` (Rachmadi 2024, eq. 14)."""
    near = Proximity(criterion=_instance(criterion, weighting), combine=combine)
    return criteria.gdf(weighting=weighting) + 0.1 * near


@LOSSES.register("cc-dice")
def cc_dice() -> Expression:
    """Dice over the lesions' Voronoi cells (CC-Dice)."""
    return Dice().over("cells")


@LOSSES.register("cc-dice-ce")
def cc_dice_ce() -> Expression:
    """`Dice + cross-entropy` over the lesions' Voronoi cells (CC-DiceCE)."""
    return criteria.dice_ce().over("cells")


@LOSSES.register("bicc-dice-ce")
def bicc_dice_ce() -> Expression:
    """`Dice + cross-entropy` over the cells of the lesions, plus the same over those of the predicted components."""
    return criteria.dice_ce().over("cells") + criteria.dice_ce().over("prediction-cells")


def _instance(criterion: Instance, weighting: Weighting) -> Criterion:
    return Dice() if criterion == "dice" else criteria.gdf(weighting=weighting)


def _built(name: str, options: dict[str, Any]) -> CompoundLoss:
    """Return a loss, made with its own options and those of every loss, all checked."""
    where = f"options of loss {name}"
    builder = _builder(name)
    check_arguments(builder, options, where=where, also=Options)
    own = {key: value for key, value in options.items() if key not in _COMMON}
    common = {key: value for key, value in options.items() if key in _COMMON}
    try:
        return CompoundLoss(builder(**own), **common)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _builder(name: str) -> Builder:
    if name == COMPOUND:
        return from_config
    if not isinstance(name, str) or name not in LOSSES:
        raise unknown_name("loss", str(name), (*names(), COMPOUND))
    return LOSSES[name]
