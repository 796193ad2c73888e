"""Studies: arms × folds × seeds of one recipe, run where there is room, resumed, pooled, compared."""

from multifocal.studies.folder import CellResult, StudyFolder, read_study
from multifocal.studies.grid import Cell, Grid, make_grid
from multifocal.studies.loading import dump, load, names, resolve, written
from multifocal.studies.local import run_here, slots
from multifocal.studies.pooling import conclude
from multifocal.studies.ray_backend import run_on_ray
from multifocal.studies.run import Plan, jobs, open_study, run_cells
from multifocal.studies.settings import Published, Resources, Study

__all__ = [
    "Cell",
    "Grid",
    "CellResult",
    "Plan",
    "Published",
    "Resources",
    "Study",
    "StudyFolder",
    "open_study",
    "conclude",
    "dump",
    "jobs",
    "load",
    "make_grid",
    "names",
    "read_study",
    "resolve",
    "run_cells",
    "run_here",
    "run_on_ray",
    "slots",
    "written",
]
