"""How good a prediction is: metrics of a case, of a cohort, and their summaries."""

from multifocal.metrics.case import evaluate_case
from multifocal.metrics.catalogue import METRICS, Metric
from multifocal.metrics.cohort import evaluate_cohort
from multifocal.metrics.overlap import Overlap, overlap
from multifocal.metrics.results import COLUMNS, write_results
from multifocal.metrics.summary import summarize
from multifocal.metrics.surface import SurfaceDistances, surface_distances
from multifocal.metrics.tables import summary_table

__all__ = [
    "COLUMNS",
    "METRICS",
    "Metric",
    "Overlap",
    "SurfaceDistances",
    "evaluate_case",
    "evaluate_cohort",
    "overlap",
    "summarize",
    "summary_table",
    "surface_distances",
    "write_results",
]
