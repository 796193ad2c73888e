"""Synthetic cohorts from a seed, one file a kind: neonates with ADC, adults with FLAIR, nuclei under a microscope."""

from multifocal.cohorts.phantom.cohort import PHANTOMS, write_phantom
from multifocal.cohorts.phantom.hie import phantom_case
from multifocal.cohorts.phantom.neat import PhantomCase

__all__ = ["PHANTOMS", "PhantomCase", "phantom_case", "write_phantom"]
