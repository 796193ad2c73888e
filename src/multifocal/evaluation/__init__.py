"""Predictions of a cohort scored: results on disk, summaries, tables."""

from multifocal.evaluation.cohort import evaluate_cohort
from multifocal.evaluation.results import (
    LESION_COLUMNS,
    Results,
    Scores,
    case_columns,
    read_results,
    read_uncertainty,
    write_results,
)
from multifocal.evaluation.summary import VOLUME_BINS, summarize, volume_bin
from multifocal.evaluation.tables import bins_table, summary_table, summary_tables

evaluate = evaluate_cohort
"""What `multifocal.evaluate` is."""

__all__ = [
    "LESION_COLUMNS",
    "VOLUME_BINS",
    "Results",
    "Scores",
    "bins_table",
    "case_columns",
    "evaluate",
    "evaluate_cohort",
    "read_results",
    "read_uncertainty",
    "summarize",
    "summary_table",
    "summary_tables",
    "volume_bin",
    "write_results",
]
