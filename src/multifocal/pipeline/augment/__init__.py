"""Random changes of a training sample: what may change and what was drawn (sampling), and doing it."""

from multifocal.pipeline.augment.augment import apply, augment
from multifocal.pipeline.augment.crop import apply_crop
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
from multifocal.pipeline.augment.spatial import new_place

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
    "apply_crop",
    "augment",
    "draw",
    "new_place",
]
