"""What a file's header says about its voxels, read before any of them are.

SimpleITK takes headers at their word: a size of 0 or of terabytes, a NaN in the spacing (read as 0), a data file
anywhere on the disk, 200 dimensions (a crash). Here the few fields that matter are read in Python, and refused when
they are wrong.
"""

from multifocal.volumes.headers.meta import read_meta
from multifocal.volumes.headers.nifti import read_nifti, unchanged_floats
from multifocal.volumes.headers.nrrd import read_nrrd
from multifocal.volumes.headers.png import read_png
from multifocal.volumes.headers.stored import Stored, damaged

__all__ = ["Stored", "damaged", "read_meta", "read_nifti", "read_nrrd", "read_png", "unchanged_floats"]
