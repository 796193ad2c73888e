"""From probabilities to a label map: what stands there where lesions, or nuclei, may touch."""

from typing import Literal

import numpy as np
from pydantic import Field

from multifocal.config import Config
from multifocal.instances import watershed_instances
from multifocal.systems.postprocess import Share, check_finite
from multifocal.volumes import Volume


class Watershed(Config):
    """How instances that touch are told apart: see `multifocal.instances.watershed_instances`.

    Args:
        kind: "watershed", which tells it from other ways.
        border: the class that is the border of instances; None divides by the distance to the background.
        threshold: probability from which a voxel is of an instance, and less the border's, a marker.
        min_depth: how deep the neck between two parts must be for them to be two, in mm (pixels in 2D images); not
            looked at with `border`.
        min_size: instances of fewer voxels are dropped.

    Example:
        >>> Watershed(border="border").threshold
        0.5
    """

    kind: Literal["watershed"] = "watershed"
    border: str | None = None
    threshold: Share = 0.5
    min_depth: float = Field(default=1.0, gt=0)
    min_size: int = Field(default=0, ge=0)


def label_map(foreground: Volume, settings: Watershed, *, border: Volume | None = None) -> Volume:
    """Return the label map of instances that may touch, on the grid of their probabilities.

    Args:
        foreground: float `(*spatial)`, the probability of an instance, its border included.
        settings: how they are told apart.
        border: float `(*spatial)`, the probability of a border; needed if the settings name one.

    Returns:
        uint16 (uint32 beyond 65535 instances): 0 is background, instances are 1 to n.

    Raises:
        ValueError: the settings name a border and there is none, or the other way round; or shapes differ.
        UserError: a probability is NaN or infinite.
        ModuleNotFoundError: the extra `instances` is not installed.

    Example:
        >>> from multifocal.volumes import Geometry
        >>> grid = Geometry((7, 3), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
        >>> inside = np.repeat([[0.9], [0.9], [0.2], [0.1], [0.9], [0.9], [0.0]], 3, axis=1)
        >>> border = Volume(np.select([inside == 0.2, inside == 0.1], [0.7, 0.8]), grid)
        >>> foreground = Volume(inside + border.array, grid)
        >>> label_map(foreground, Watershed(border="border"), border=border).array[:, 1].tolist()
        [1, 1, 1, 2, 2, 2, 0]
    """
    if (settings.border is None) != (border is None):
        raise ValueError(f"border={settings.border} in the settings, and a border is {'not ' * (border is None)}given")
    for what, volume in (("the probability", foreground), ("the probability of a border", border)):
        if volume is not None:
            check_finite(volume.array, what)
    labels = watershed_instances(
        foreground.array,
        border=None if border is None else border.array,
        threshold=settings.threshold,
        min_depth=settings.min_depth,
        min_size=settings.min_size,
        spacing=foreground.geometry.spacing,
    )
    return Volume(labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else np.uint32), foreground.geometry)
