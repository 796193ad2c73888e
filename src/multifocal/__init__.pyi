from . import (
    cohorts,
    comparison,
    distance,
    evaluation,
    instances,
    losses,
    metrics,
    networks,
    normative,
    recipes,
    reports,
    studies,
    systems,
    training,
    volumes,
)
from .cohorts import Case, Cohort, Fold, Folds, make_folds, open_cohort
from .comparison import compare
from .errors import UserError
from .evaluation import evaluate, read_results, summarize, write_results
from .metrics import evaluate_case
from .registry import Registry
from .reports import write_report
from .systems import load_model, predict
from .training import choose_split, fit
from .volumes import Geometry, Volume, read, restore, write

__version__: str
