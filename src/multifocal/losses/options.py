"""How every loss reads its input."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from multifocal.instances import Connectivity
from multifocal.losses.checked import Checked, Positive

Activation = Literal["sigmoid", "softmax", "none"]
Spacing = Annotated[tuple[Positive, ...], BeforeValidator(lambda sides: _numbers(sides))]


@dataclass(frozen=True)
class Options(Checked):
    """How input is to be read; the same for every loss.

    Args:
        activation: "sigmoid" and "softmax" (over the channels) take logits, "none" takes probabilities.
        spacing: mm per voxel along each axis, for distances; None counts in voxels.
        connectivity: what joins voxels to one component.
        threshold: voxels with p >= threshold are predicted foreground; the Hausdorff losses take p > threshold.
        include_background: whether channel 0 counts. None: with softmax it is the background, which counts in
            criteria over the image, as in MONAI, and not in what looks at lesions or distances; otherwise every
            channel counts.
        relaxed: where the published value has no gradient to learn from, take that of a soft stand-in.

    Raises:
        UserError: an option that cannot be.

    Example:
        >>> Options(spacing=(1.0, 1.0, 3.0)).activation
        'sigmoid'
    """

    activation: Activation = "sigmoid"
    spacing: Spacing | None = None
    connectivity: Connectivity = "full"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    include_background: bool | None = None
    relaxed: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", _numbers(self.spacing))
        super().__post_init__()

    @property
    def first_channel(self) -> int:
        """The first channel that what looks at lesions or distances looks at."""
        without = self.activation == "softmax" if self.include_background is None else not self.include_background
        return int(without)


def _numbers(sides: Any) -> Any:
    """Return a list, an array or a header's numbers as a tuple; anything else as it is."""
    if isinstance(sides, str) or not hasattr(sides, "__iter__"):
        return sides
    return tuple(float(side) if hasattr(side, "__float__") else side for side in sides)
