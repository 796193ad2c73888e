"""Masks on the scan's own grid, from a trained run or a recipe without training."""

from multifocal.inference.model import Model, NetworkModel, Prediction, ThresholdModel, choose_device, load_model
from multifocal.inference.precision import autocast_type
from multifocal.inference.predict import predict_cohort

__all__ = [
    "Model",
    "NetworkModel",
    "Prediction",
    "ThresholdModel",
    "autocast_type",
    "choose_device",
    "load_model",
    "predict_cohort",
]
