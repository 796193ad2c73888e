"""Studies: arms × folds × seeds of one recipe, run where there is room, resumed, pooled, compared."""

from multifocal.studies.begin import Plan, open_study
from multifocal.studies.grid import Cell, Grid, make_grid
from multifocal.studies.loading import dump, load, names, resolve, written
from multifocal.studies.local import run_here
from multifocal.studies.machine import slots
from multifocal.studies.ray_backend import run_on_ray
from multifocal.studies.reading import StudyFolder, read_study
from multifocal.studies.run import conclude, jobs, run_cells
from multifocal.studies.settings import Published, Resources, Study
from multifocal.studies.state import CellResult

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
