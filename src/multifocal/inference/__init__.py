"""Masks on the scan's own grid, from a trained run or a recipe without training."""

from multifocal.device import autocast_type, choose_device
from multifocal.inference.model import Model, NetworkModel, Prediction, ThresholdModel, load_model
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
