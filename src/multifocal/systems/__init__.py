"""Ways from a case to a mask: one file a kind, and the step between probability and mask that all share."""

from multifocal.systems.ensemble import join
from multifocal.systems.findings import Findings, Lesion, find, write_findings
from multifocal.systems.flags import Flag, flags
from multifocal.systems.instances import Watershed, label_map
from multifocal.systems.loading import build, load_model, model_digest, system_class
from multifocal.systems.postprocess import Postprocess, postprocess
from multifocal.systems.predict import predict, predict_cohort
from multifocal.systems.system import FitJob, Prediction, System
from multifocal.systems.tuning import Tuned, Tuner, Tuning
from multifocal.systems.uncertainty import Uncertainty, uncertainty, uncertainty_of

__all__ = [
    "Findings",
    "Flag",
    "FitJob",
    "Lesion",
    "Postprocess",
    "Prediction",
    "System",
    "Tuned",
    "Tuner",
    "Tuning",
    "Uncertainty",
    "Watershed",
    "build",
    "find",
    "join",
    "flags",
    "label_map",
    "load_model",
    "model_digest",
    "postprocess",
    "predict",
    "predict_cohort",
    "system_class",
    "uncertainty",
    "uncertainty_of",
    "write_findings",
]
