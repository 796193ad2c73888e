"""The published losses, one definition each.

Usman et al. 2025 (arXiv:2502.09148, eqs. 2, 5 and 6) print `(1 - DiceLoss)` and `log(1 / (1 + HD))`, which reward
errors when minimised. As in the authors' library, the sums here are of the losses themselves and of `log(1 + HDT)`.
"""

from typing import Literal

from multifocal.losses import mixes
from multifocal.losses.algebra import Expression
from multifocal.losses.center import Center
from multifocal.losses.checked import NonNegative, Share
from multifocal.losses.costs import CrossEntropy, Focal, Hausdorff, LogHausdorff
from multifocal.losses.criteria import Criterion
from multifocal.losses.overlap import Dice, GeneralizedDice, Jaccard, Tversky
from multifocal.losses.partitions import Image, Over
from multifocal.losses.proximity import Proximity
from multifocal.losses.rates import FalseRate, MissedRate
from multifocal.losses.registry import named
from multifocal.losses.schedules import Linear
from multifocal.losses.structure import MultiScaleSimilarity

Instance = Literal["dice", "gdf"]
Weighting = Literal["monai", "normalized"]
Empty = Literal["diagonal", "zero"]


@named("dice")
def dice(*, batch: bool = False) -> Expression:
    """`1 - 2Σpy / (Σp + Σy)`, per image, or over the batch with `batch: true`."""
    return Over(Dice(), Image(batch=batch))


@named("dice-ce")
def dice_ce(*, batch: bool = False) -> Expression:
    """`Dice + cross-entropy`."""
    return Over(Dice(), Image(batch=batch)) + CrossEntropy()


@named("generalized-dice")
def generalized_dice(*, weighting: Weighting = "monai", batch: bool = False) -> Expression:
    """`1 - 2 Σ_c w_c Σpy / Σ_c w_c (Σp + Σy)`, `w_c = 1/(Σy)²` (Sudre 2017)."""
    return Over(GeneralizedDice(weighting=weighting), Image(batch=batch))


@named("focal")
def focal(*, gamma: float = 2.0, alpha: float | None = None) -> Expression:
    """`-(1 - p_t)^γ log p_t`, mean over voxels (Lin 2017)."""
    return Focal(gamma=gamma, alpha=alpha)


@named("tversky")
def tversky(*, alpha: float = 0.3, beta: float = 0.7, batch: bool = False) -> Expression:
    """`1 - Σpy / (Σpy + α Σp(1-y) + β Σ(1-p)y)`: α weighs false positives, β false negatives."""
    return Over(Tversky(alpha=alpha, beta=beta), Image(batch=batch))


@named("jaccard")
def jaccard(*, batch: bool = False) -> Expression:
    """`1 - Σpy / (Σp + Σy - Σpy)`."""
    return Over(Jaccard(), Image(batch=batch))


@named("dice-focal")
def dice_focal(*, gamma: float = 2.0, balance: Share | None = None, batch: bool = False) -> Expression:
    """`Dice + focal(γ)` as MONAI sums them; `balance: α` gives the paper's `(1-α) Dice + α focal`."""
    weights = (1.0, 1.0) if balance is None else (1.0 - balance, balance)
    return weights[0] * Over(Dice(), Image(batch=batch)) + weights[1] * Focal(gamma=gamma)


@named("gdf")
def gdf(*, gamma: float = 2.0, weighting: Weighting = "monai") -> Expression:
    """`generalized Dice + focal(γ)`."""
    return mixes.gdf(gamma=gamma, weighting=weighting)


@named("inverse-weighted-dice")
def inverse_weighted_dice() -> Expression:
    """Dice of voxels weighted by the inverse size of their component (Shirokikh 2020)."""
    return Dice().over("inverse-weighted")


@named("hausdorff-dt")
def hausdorff_dt(*, alpha: float = 2.0, empty: Empty = "diagonal") -> Expression:
    """`mean (p - y)² (d_p^α + d_y^α)` with distances to the border of each side (Karimi & Salcudean 2019)."""
    return Hausdorff(alpha=alpha, empty=empty)


@named("log-hausdorff-dt")
def log_hausdorff_dt(*, alpha: float = 2.0, empty: Empty = "diagonal") -> Expression:
    """`log(1 + HDT)`."""
    return LogHausdorff(alpha=alpha, empty=empty)


@named("dice-focal-hausdorff")
def dice_focal_hausdorff() -> Expression:
    """`0.9 (0.5 Dice + 0.5 focal) + 0.1 log(1 + HDT)` (Usman 2025, eq. 5)."""
    return 0.45 * Dice() + 0.45 * Focal() + 0.1 * LogHausdorff()


@named("tversky-hausdorff")
def tversky_hausdorff() -> Expression:
    """`0.9 Tversky(0.3, 0.7) + 0.1 log(1 + HDT)` (Usman 2025, eq. 6)."""
    return 0.9 * Tversky(alpha=0.3, beta=0.7) + 0.1 * LogHausdorff()


@named("tlhf")
def tlhf() -> Expression:
    """`1.5 Tversky(0.3, 0.7) + 2 log(1 + HDT) + γ_F focal(γ=3)`, γ_F from 2 to 4 over training (Rao 2025, eq. 4)."""
    return 1.5 * Tversky(alpha=0.3, beta=0.7) + 2 * LogHausdorff() + Linear(2.0, 4.0) * Focal(gamma=3.0)


@named("bce-msssim-jaccard")
def bce_msssim_jaccard() -> Expression:
    """`BCE + (1 - MS-SSIM) + Jaccard` (Koirala et al.)."""
    return CrossEntropy() + MultiScaleSimilarity() + Jaccard()


@named("blob-dice")
def blob_dice(*, image: NonNegative = 2.0, blobs: NonNegative = 1.0) -> Expression:
    """`2 Dice(image) + 1 Dice(blobs)` (Kofler 2023)."""
    return image * Dice() + blobs * Dice().over("blobs")


@named("blob-gdf")
def blob_gdf(
    *, image: NonNegative = 2.0, blobs: NonNegative = 1.0, gamma: float = 2.0, weighting: Weighting = "monai"
) -> Expression:
    """`2 GDF(image) + 1 GDF(blobs)` (Kofler 2023)."""
    criterion = mixes.gdf(gamma=gamma, weighting=weighting)
    return image * criterion + blobs * criterion.over("blobs")


@named("ici")
def ici(*, criterion: Instance = "dice", side: int = 3, weighting: Weighting = "monai") -> Expression:
    """`0.25 GDF + 0.5 Dice over instances + 0.25 center` (Rachmadi 2024, eq. 12)."""
    instances = _instance(criterion, weighting).over("instances")
    return 0.25 * mixes.gdf(weighting=weighting) + 0.5 * instances + 0.25 * Center(side=side)


@named("false")
def false(*, weighting: Weighting = "monai") -> Expression:
    """`GDF + false rate + missed rate` (Rachmadi 2024, eq. 13)."""
    return mixes.gdf(weighting=weighting) + FalseRate() + MissedRate()


@named("proximity")
def proximity(
    *,
    criterion: Instance = "dice",
    combine: Literal["difference", "sum"] = "difference",
    weighting: Weighting = "monai",
) -> Expression:
    """`GDF + 0.1 proximity` (Rachmadi 2024, eq. 14)."""
    near = Proximity(criterion=_instance(criterion, weighting), combine=combine)
    return mixes.gdf(weighting=weighting) + 0.1 * near


@named("cc-dice")
def cc_dice() -> Expression:
    """Dice over the lesions' Voronoi cells (CC-Dice)."""
    return Dice().over("cells")


@named("cc-dice-ce")
def cc_dice_ce() -> Expression:
    """`Dice + cross-entropy` over the lesions' Voronoi cells (CC-DiceCE)."""
    return mixes.dice_ce().over("cells")


@named("bicc-dice-ce")
def bicc_dice_ce() -> Expression:
    """`Dice + cross-entropy` over the cells of the lesions, plus the same over those of the predicted components."""
    return mixes.dice_ce().over("cells") + mixes.dice_ce().over("prediction-cells")


def _instance(criterion: Instance, weighting: Weighting) -> Criterion:
    return Dice() if criterion == "dice" else mixes.gdf(weighting=weighting)
