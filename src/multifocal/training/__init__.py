"""Fitting systems: a recipe and a cohort in, a run folder out."""

from multifocal.training.case_split import choose_split
from multifocal.training.fit import fit
from multifocal.training.run_folder import holds_recipe
from multifocal.training.tune import tune_run

__all__ = ["choose_split", "fit", "holds_recipe", "tune_run"]
