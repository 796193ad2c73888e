"""A synthetic neonatal cohort: brains, lesions and scans from a seed, in the layout of BONBID-HIE."""

from multifocal.cohorts.phantom.cohort import PhantomCase, phantom_case, write_phantom

__all__ = ["PhantomCase", "phantom_case", "write_phantom"]
