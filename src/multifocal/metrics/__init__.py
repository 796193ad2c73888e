"""How good a prediction is: metrics of a case and of its lesions, as functions of arrays."""

from multifocal._moved import moved
from multifocal.metrics.case import CaseScores, evaluate_case, score_case
from multifocal.metrics.classes import as_classes
from multifocal.metrics.lesions import Lesion
from multifocal.metrics.mask_pair import MaskPair
from multifocal.metrics.metric import METRICS, Metric, metric
from multifocal.metrics.named import case_level, lesion_level  # noqa: F401  (ours come before anyone's)
from multifocal.metrics.overlap import Overlap, burden, overlap
from multifocal.metrics.scoring_options import ScoringKwargs, ScoringOptions
from multifocal.metrics.surface import SurfaceDistances, surface_distances

__all__ = [
    "METRICS",
    "CaseScores",
    "Lesion",
    "MaskPair",
    "Metric",
    "Overlap",
    "ScoringKwargs",
    "ScoringOptions",
    "SurfaceDistances",
    "as_classes",
    "burden",
    "evaluate_case",
    "metric",
    "overlap",
    "score_case",
    "surface_distances",
]

_EVALUATION = (
    "LESION_COLUMNS",
    "VOLUME_BINS",
    "Results",
    "Scores",
    "bins_table",
    "evaluate_cohort",
    "read_results",
    "summarize",
    "summary_table",
    "summary_tables",
    "volume_bin",
    "write_results",
)
__getattr__ = moved(
    __name__,
    {name: f"multifocal.evaluation.{name}" for name in _EVALUATION}
    | {
        "COLUMNS": "multifocal.evaluation.case_columns()",
        "Rules": "multifocal.metrics.ScoringOptions",
        "Options": "multifocal.metrics.ScoringKwargs",
    },
)
