"""Ways from a case to a mask: one file a kind, and the step between probability and mask that all share."""

from multifocal.systems.flags import Flag, flags
from multifocal.systems.instances import Watershed, label_map
from multifocal.systems.loading import build, load_model, system_class
from multifocal.systems.postprocess import Postprocess, postprocess
from multifocal.systems.predict import predict_cohort
from multifocal.systems.system import FitJob, Prediction, System
from multifocal.systems.tuning import Tuned, Tuner, Tuning
from multifocal.systems.uncertainty import Uncertainty, uncertainty, uncertainty_of

predict = predict_cohort
"""What `multifocal.predict` is."""

__all__ = [
    "Flag",
    "FitJob",
    "Postprocess",
    "Prediction",
    "System",
    "Tuned",
    "Tuner",
    "Tuning",
    "Uncertainty",
    "Watershed",
    "build",
    "flags",
    "label_map",
    "load_model",
    "postprocess",
    "predict",
    "predict_cohort",
    "system_class",
    "uncertainty",
    "uncertainty_of",
]
