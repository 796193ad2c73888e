"""Cohorts: cases with images and labels, from folders of several layouts, checked and dealt into folds."""

from multifocal.cohorts.case import Case, Cohort, ImageFile
from multifocal.cohorts.check import CaseReport, check_case, check_cohort
from multifocal.cohorts.fetch import fetch_bonbid
from multifocal.cohorts.fingerprint import case_fingerprint, fingerprint
from multifocal.cohorts.folds import Fold, Folds, dataset_folds, make_folds, read_fold
from multifocal.cohorts.label_values import check_labels, with_labels
from multifocal.cohorts.labels import Labels
from multifocal.cohorts.layouts import LAYOUTS, Problem, layout_names
from multifocal.cohorts.lesion_burden import (
    STRATA,
    Stratum,
    brain_mask,
    lesion_share,
    lesion_shares,
    stratum,
)
from multifocal.cohorts.opening import Survey, open_cohort, survey

__all__ = [
    "LAYOUTS",
    "STRATA",
    "Case",
    "CaseReport",
    "Cohort",
    "Fold",
    "Folds",
    "ImageFile",
    "Labels",
    "Problem",
    "Stratum",
    "Survey",
    "brain_mask",
    "case_fingerprint",
    "check_case",
    "check_cohort",
    "check_labels",
    "dataset_folds",
    "fetch_bonbid",
    "fingerprint",
    "layout_names",
    "lesion_share",
    "lesion_shares",
    "make_folds",
    "open_cohort",
    "read_fold",
    "stratum",
    "survey",
    "with_labels",
]
