"""Random changes of a training sample: what may change (settings), what was drawn (parameters), and doing it."""

from multifocal.pipeline.augment.augment import apply, augment
from multifocal.pipeline.augment.parameters import Parameters, draw
from multifocal.pipeline.augment.settings import Affine, Anisotropy, Augmentation, Blur, Elastic, Flip, Gamma, Noise

__all__ = [
    "Affine",
    "Anisotropy",
    "Augmentation",
    "Blur",
    "Elastic",
    "Flip",
    "Gamma",
    "Noise",
    "Parameters",
    "apply",
    "augment",
    "draw",
]
