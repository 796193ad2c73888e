"""Training: a recipe and a cohort in, a run folder out."""

from multifocal.training.fit import fit
from multifocal.training.parts import choose_parts
from multifocal.training.run import Parts

__all__ = ["Parts", "choose_parts", "fit"]
