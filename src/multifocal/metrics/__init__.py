"""How good a prediction is: metrics of a case and its lesions, of a cohort, and their summaries."""

from multifocal.metrics.bins import VOLUME_BINS, volume_bin
from multifocal.metrics.case import CaseScores, evaluate_case, score_case
from multifocal.metrics.catalogue import METRICS, Metric
from multifocal.metrics.classes import as_classes
from multifocal.metrics.cohort import evaluate_cohort
from multifocal.metrics.lesions import Lesion
from multifocal.metrics.overlap import Overlap, overlap
from multifocal.metrics.reading import read_results
from multifocal.metrics.results import COLUMNS, LESION_COLUMNS, Results, Scores, write_results
from multifocal.metrics.rules import Options, Rules
from multifocal.metrics.summary import summarize
from multifocal.metrics.surface import SurfaceDistances, surface_distances
from multifocal.metrics.tables import bins_table, summary_table, summary_tables

__all__ = [
    "COLUMNS",
    "LESION_COLUMNS",
    "METRICS",
    "VOLUME_BINS",
    "CaseScores",
    "Lesion",
    "Metric",
    "Options",
    "Overlap",
    "Results",
    "Rules",
    "Scores",
    "SurfaceDistances",
    "as_classes",
    "bins_table",
    "evaluate_case",
    "evaluate_cohort",
    "overlap",
    "read_results",
    "score_case",
    "summarize",
    "summary_table",
    "summary_tables",
    "surface_distances",
    "volume_bin",
    "write_results",
]
