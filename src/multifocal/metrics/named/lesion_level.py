"""Metrics of the lesions of a case, one by one. Formulas are in `multifocal.metrics.lesions` and `.cc_dice`."""

from math import inf

from multifocal.metrics.mask_pair import MaskPair
from multifocal.metrics.metric import metric

_NO_TRUE, _NO_PREDICTED = "only the target is empty", "only the prediction is empty"


@metric("true_lesions", heading="true lesions", unit="1", best=None, range=(0, inf), level="lesion")
def true_lesions(pair: MaskPair) -> float:
    """Return the number of true lesions.

    Args:
        pair: prediction and target.

    Returns:
        A count.
    """
    return float(pair.lesions.detection.true)


@metric("predicted_lesions", heading="predicted lesions", unit="1", best=None, range=(0, inf), level="lesion")
def predicted_lesions(pair: MaskPair) -> float:
    """Return the number of predicted lesions.

    Args:
        pair: prediction and target.

    Returns:
        A count.
    """
    return float(pair.lesions.detection.predicted)


@metric("tp", heading="lesions predicted right", unit="1", best=None, range=(0, inf), level="lesion")
def tp(pair: MaskPair) -> float:
    """Return the number of predicted lesions that match a true one.

    Args:
        pair: prediction and target.

    Returns:
        A count.
    """
    return float(pair.lesions.detection.right)


@metric("missed", heading="lesions missed", unit="1", best="lowest", range=(0, inf), level="lesion")
def missed(pair: MaskPair) -> float:
    """Return the number of true lesions that nothing matches.

    Args:
        pair: prediction and target.

    Returns:
        A count.
    """
    return float(pair.lesions.detection.missed)


@metric("false", heading="false lesions", unit="1", best="lowest", range=(0, inf), level="lesion")
def false(pair: MaskPair) -> float:
    """Return the number of predicted lesions that match nothing.

    Args:
        pair: prediction and target.

    Returns:
        A count.
    """
    return float(pair.lesions.detection.false)


@metric("fdr", heading="FDR", unit="1", best="lowest", range=(0, 1), undefined_when=_NO_PREDICTED, level="lesion")
def fdr(pair: MaskPair) -> float:
    """Return the false-discovery rate: false lesions over all predicted ones.

    `false / predicted`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 0 without lesions, NaN where only the prediction has none.
    """
    return pair.lesions.detection.fdr


@metric("fnr", heading="FNR", unit="1", best="lowest", range=(0, 1), undefined_when=_NO_TRUE, level="lesion")
def fnr(pair: MaskPair) -> float:
    """Return the false-negative rate: missed lesions over all true ones.

    `missed / true`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 0 without lesions, NaN where only the target has none.
    """
    return pair.lesions.detection.fnr


@metric("ppv", heading="PPV", unit="1", best="highest", range=(0, 1), undefined_when=_NO_PREDICTED, level="lesion")
def ppv(pair: MaskPair) -> float:
    """Return the share of the predicted lesions that are lesions: `right / predicted = 1 - FDR`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, NaN where only the prediction has none.
    """
    return pair.lesions.detection.ppv


@metric("sen", heading="SEN", unit="1", best="highest", range=(0, 1), undefined_when=_NO_TRUE, level="lesion")
def sen(pair: MaskPair) -> float:
    """Return the share of the true lesions that are found: `found / true = 1 - FNR`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, NaN where only the target has none.
    """
    return pair.lesions.detection.sen


@metric("f1", heading="F1", unit="1", best="highest", range=(0, 1), level="lesion")
def f1(pair: MaskPair) -> float:
    """Return the harmonic mean of PPV and SEN: `2 PPV SEN / (PPV + SEN)`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, 0 where one side has none.
    """
    return pair.lesions.detection.f1


@metric("pq", heading="PQ", unit="1", best="highest", range=(0, 1), level="lesion")
def pq(pair: MaskPair) -> float:
    """Return the panoptic quality, SQ times RQ: `Σ score / (TP + FP/2 + FN/2) = SQ RQ`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, 0 where one side has none.
    """
    return pair.lesions.detection.pq


@metric("sq", heading="SQ", unit="1", best="highest", range=(0, 1), level="lesion")
def sq(pair: MaskPair) -> float:
    """Return the segmentation quality: the mean score of the matches.

    `Σ score / TP`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, 0 where none is right.
    """
    return pair.lesions.detection.sq


@metric("rq", heading="RQ", unit="1", best="highest", range=(0, 1), level="lesion")
def rq(pair: MaskPair) -> float:
    """Return the recognition quality: `TP / (TP + FP/2 + FN/2)`.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, 0 where one side has none.
    """
    return pair.lesions.detection.rq


@metric("cc_dice", heading="CC-Dice", unit="1", best="highest", range=(0, 1), level="lesion")
def cc_dice(pair: MaskPair) -> float:
    """Return the mean Dice over the Voronoi cells of the true lesions.

    Args:
        pair: prediction and target.

    Returns:
        0 to 1; 1 without lesions, 0 where only the target has none.
    """
    return pair.lesions.cc_dice
