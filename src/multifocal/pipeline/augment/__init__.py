"""Random changes of a training sample: what may change and what was drawn (sampling), and doing it."""

from multifocal.pipeline.augment.augment import apply, augment
from multifocal.pipeline.augment.crop import apply_crop
from multifocal.pipeline.augment.paste import Donor, Pasted, paste
from multifocal.pipeline.augment.sampling import (
    Affine,
    Anisotropy,
    Augmentation,
    Blur,
    Elastic,
    Flip,
    Gamma,
    Member,
    Noise,
    OneOf,
    Parameters,
    Paste,
    QuarterTurns,
    Scale,
    Shift,
    draw,
)
from multifocal.pipeline.augment.spatial import new_place, turned_size

__all__ = [
    "Affine",
    "Anisotropy",
    "Augmentation",
    "Blur",
    "Donor",
    "Elastic",
    "Flip",
    "Gamma",
    "Member",
    "Noise",
    "OneOf",
    "Parameters",
    "Paste",
    "Pasted",
    "QuarterTurns",
    "Scale",
    "Shift",
    "apply",
    "apply_crop",
    "augment",
    "draw",
    "new_place",
    "paste",
    "turned_size",
]
