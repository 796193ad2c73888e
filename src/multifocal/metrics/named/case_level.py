"""Metrics of the voxels and surfaces of a case. Formulas are in `multifocal.metrics.overlap` and `.surface`."""

from math import inf

from multifocal.metrics.mask_pair import MaskPair
from multifocal.metrics.metric import metric

_ONE_EMPTY = "exactly one of the masks is empty"
_NO_TRUE, _NO_PREDICTED = "only the target is empty", "only the prediction is empty"


@metric("dice", heading="Dice", unit="1", best="highest", range=(0, 1))
def dice(pair: MaskPair) -> float:
    """Return twice the shared voxels over the sum of both masks: `2 |P∩G| / (|P| + |G|)`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 for two empty masks.
    """
    return pair.overlap.dice


@metric("masd", heading="MASD", unit="mm", best="lowest", range=(0, inf), undefined_when=_ONE_EMPTY, is_distance=True)
def masd(pair: MaskPair) -> float:
    """Return the mean of the two directed mean surface distances: `(mean d(P→G) + mean d(G→P)) / 2`.

    Args:
        pair: prediction and target.

    Returns:
        mm; 0 for two empty masks, NaN where one is empty.
    """
    return pair.surfaces.masd


@metric("nsd", heading="NSD", unit="1", best="highest", range=(0, 1))
def nsd(pair: MaskPair) -> float:
    """Return the share of both surfaces within the tolerance of the other.

    `|surface within the tolerance| / |surface|`, of both masks together.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 for two empty masks, 0 where one is empty.
    """
    return pair.surfaces.nsd(tolerance=pair.options.tolerance)


@metric("volume_difference", heading="volume difference", unit="ml", best="zero", range=(-inf, inf))
def volume_difference(pair: MaskPair) -> float:
    """Return the predicted minus the true volume: `|P| - |G|`.

    Args:
        pair: prediction and target.

    Returns:
        ml, with its sign.
    """
    return (pair.overlap.predicted - pair.overlap.true) * pair.voxel_ml


@metric(
    "relative_volume_difference",
    heading="relative volume difference",
    unit="1",
    best="zero",
    range=(-1, inf),
    undefined_when=_NO_TRUE,
)
def relative_volume_difference(pair: MaskPair) -> float:
    """Return the volume difference over the true volume: `(|P| - |G|) / |G|`.

    Args:
        pair: prediction and target.

    Returns:
        A share, with its sign; 0 for two empty masks, NaN where only the target is empty.
    """
    return pair.overlap.relative_volume_difference


@metric("hd95", heading="HD95", unit="mm", best="lowest", range=(0, inf), undefined_when=_ONE_EMPTY, is_distance=True)
def hd95(pair: MaskPair) -> float:
    """Return the larger of the two directed 95th percentiles of the surface distances.

    `max(q95 d(P→G), q95 d(G→P))`.

    Args:
        pair: prediction and target.

    Returns:
        mm; 0 for two empty masks, NaN where one is empty.
    """
    return pair.surfaces.hd95


@metric("assd", heading="ASSD", unit="mm", best="lowest", range=(0, inf), undefined_when=_ONE_EMPTY, is_distance=True)
def assd(pair: MaskPair) -> float:
    """Return the mean of the surface distances of both directions together: `(Σ d(P→G) + Σ d(G→P)) / |surface|`.

    Args:
        pair: prediction and target.

    Returns:
        mm; 0 for two empty masks, NaN where one is empty.
    """
    return pair.surfaces.assd


@metric("sensitivity", heading="sensitivity", unit="1", best="highest", range=(0, 1), undefined_when=_NO_TRUE)
def sensitivity(pair: MaskPair) -> float:
    """Return the share of the target's voxels that are found: `|P∩G| / |G|`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 for two empty masks, NaN where only the target is empty.
    """
    return pair.overlap.sensitivity


@metric("precision", heading="precision", unit="1", best="highest", range=(0, 1), undefined_when=_NO_PREDICTED)
def precision(pair: MaskPair) -> float:
    """Return the share of the predicted voxels that are right: `|P∩G| / |P|`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 for two empty masks, NaN where only the prediction is empty.
    """
    return pair.overlap.precision


@metric(
    "specificity",
    heading="specificity",
    unit="1",
    best="highest",
    range=(0, 1),
    undefined_when="the target fills the image",
)
def specificity(pair: MaskPair) -> float:
    """Return the share of the voxels outside the target that are left alone: `|not P ∩ not G| / |not G|`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; NaN where the target fills the image.
    """
    return pair.overlap.specificity


@metric("predicted_ml", heading="predicted volume", unit="ml", best=None, range=(0, inf))
def predicted_ml(pair: MaskPair) -> float:
    """Return the predicted volume: `|P|`.

    Args:
        pair: prediction and target.

    Returns:
        ml.
    """
    return pair.overlap.predicted * pair.voxel_ml


@metric("true_ml", heading="true volume", unit="ml", best=None, range=(0, inf))
def true_ml(pair: MaskPair) -> float:
    """Return the true volume: `|G|`.

    Args:
        pair: prediction and target.

    Returns:
        ml.
    """
    return pair.overlap.true * pair.voxel_ml
