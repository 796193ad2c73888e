"""Random changes of a training sample: what may change and what was drawn (sampling), and doing it."""

from multifocal.pipeline.augment.augment import apply, augment
from multifocal.pipeline.augment.sampling import (
    Affine,
    Anisotropy,
    Augmentation,
    Blur,
    Elastic,
    Flip,
    Gamma,
    Noise,
    Parameters,
    draw,
)

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
