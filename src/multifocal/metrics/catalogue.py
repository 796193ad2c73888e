"""Every metric of a case: its unit, where it is best, when it is undefined. Tables, summaries and files go by it.

What empty masks score, everywhere. "none" is a mask without a lesion, "some" one with at least one:

| target | prediction | dice, nsd | masd, assd, hd95 | sensitivity, sen | precision, ppv | f1, rq, sq, pq, cc_dice |
|--------|------------|-----------|------------------|------------------|----------------|-------------------------|
| none   | none       | 1         | 0                | 1                | 1              | 1                       |
| none   | some       | 0         | undefined        | undefined        | 0              | 0                       |
| some   | none       | 0         | undefined        | 0                | undefined      | 0                       |

`fnr` is 1 - `sen` and `fdr` is 1 - `ppv`, undefined where those are: a rate of no lesions says nothing. At lesion level
"some" means a lesion that is not left out for its size. Undefined is NaN; what stands for it in a mean is said by
`multifocal.metrics.summarize`, beside the count of such cases.
"""

from dataclasses import dataclass
from typing import Literal

Best = Literal["highest", "lowest", "zero"]
Level = Literal["case", "lesion"]
_ONE_EMPTY = "exactly one of the masks is empty"
_NO_TRUE, _NO_PREDICTED = "only the target is empty", "only the prediction is empty"


@dataclass(frozen=True)
class Metric:
    """What one number of a case means.

    `best` is None for a plain measurement; `is_distance` marks distances in mm, for which the image's diagonal can
    stand where they are undefined (`undefined_when`); `level` says whether it is of voxels and surfaces ("case") or
    of lesions one by one ("lesion").

    Example:
        >>> METRICS["masd"].unit, METRICS["masd"].best
        ('mm', 'lowest')
    """

    name: str
    heading: str
    unit: Literal["1", "mm", "ml"]
    best: Best | None
    undefined_when: str | None = None
    is_distance: bool = False
    level: Level = "case"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("dice", "Dice", "1", "highest"),
        Metric("masd", "MASD", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("nsd", "NSD", "1", "highest"),
        Metric("volume_difference", "volume difference", "ml", "zero"),
        Metric("relative_volume_difference", "relative volume difference", "1", "zero", _NO_TRUE),
        Metric("hd95", "HD95", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("assd", "ASSD", "mm", "lowest", _ONE_EMPTY, is_distance=True),
        Metric("sensitivity", "sensitivity", "1", "highest", _NO_TRUE),
        Metric("precision", "precision", "1", "highest", _NO_PREDICTED),
        Metric("specificity", "specificity", "1", "highest", "the target fills the image"),
        Metric("predicted_ml", "predicted volume", "ml", None),
        Metric("true_ml", "true volume", "ml", None),
        Metric("true_lesions", "true lesions", "1", None, level="lesion"),
        Metric("predicted_lesions", "predicted lesions", "1", None, level="lesion"),
        Metric("tp", "lesions predicted right", "1", None, level="lesion"),
        Metric("missed", "lesions missed", "1", "lowest", level="lesion"),
        Metric("false", "false lesions", "1", "lowest", level="lesion"),
        Metric("fdr", "FDR", "1", "lowest", _NO_PREDICTED, level="lesion"),
        Metric("fnr", "FNR", "1", "lowest", _NO_TRUE, level="lesion"),
        Metric("ppv", "PPV", "1", "highest", _NO_PREDICTED, level="lesion"),
        Metric("sen", "SEN", "1", "highest", _NO_TRUE, level="lesion"),
        Metric("f1", "F1", "1", "highest", level="lesion"),
        Metric("pq", "PQ", "1", "highest", level="lesion"),
        Metric("sq", "SQ", "1", "highest", level="lesion"),
        Metric("rq", "RQ", "1", "highest", level="lesion"),
        Metric("cc_dice", "CC-Dice", "1", "highest", level="lesion"),
    )
}
