"""Cohorts: cases with images and labels, from folders of several layouts."""

from multifocal.cohorts.case import Case, Cohort, ImageFile
from multifocal.cohorts.fingerprint import case_fingerprint, fingerprint
from multifocal.cohorts.layouts import layout_names
from multifocal.cohorts.opening import Survey, open_cohort, survey
from multifocal.cohorts.problems import Problem
from multifocal.cohorts.strata import STRATA, stratum

__all__ = [
    "STRATA",
    "Case",
    "Cohort",
    "ImageFile",
    "Problem",
    "Survey",
    "case_fingerprint",
    "fingerprint",
    "layout_names",
    "open_cohort",
    "stratum",
    "survey",
]
