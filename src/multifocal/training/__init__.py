"""Training: a recipe and a cohort in, a run folder out."""

from multifocal.training.fit import fit
from multifocal.training.run import Parts, open_run

__all__ = ["Parts", "fit", "open_run"]
