"""What a recipe may say about preprocessing."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from multifocal.config import Config

Range = tuple[float, float]


def _anatomical(axes: str) -> str:
    if len(axes) != 3 or any(len(set(axes) & set(pair)) != 1 for pair in ("LR", "PA", "SI")):
        raise ValueError("expected one letter each of L/R, P/A and S/I, as in LPS")
    return axes


class Channel(Config):
    """One input channel of the network: a map of the case, and what is done to its values, in this order.

    Args:
        map: the map's name in the cohort (`adc`, `zadc`, ...).
        below: turn the map into the binary prior `value < below` (0 outside the brain).
        clip: limits, either of them null.
        range: `(low, high)` goes to `(0, 1)`.
        zscore: subtract the mean and divide by the standard deviation of the `image`, or of the `brain` (then 0
            outside).
    """

    map: str
    below: float | None = None
    clip: tuple[float | None, float | None] | None = None
    range: Range | None = None
    zscore: Literal["image", "brain"] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Channel":
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range={list(self.range)}: expected low < high")
        if self.clip is not None:
            low, high = self.clip
            if low is None and high is None:
                raise ValueError("clip=[null, null] clips nothing: give a limit, or leave clip out")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"clip=[{low}, {high}]: expected low < high")
        if self.below is not None and (self.clip or self.range or self.zscore):
            raise ValueError("below makes a binary prior, which is not clipped, scaled or normalised")
        return self

    @property
    def is_prior(self) -> bool:
        """Whether the channel is a binary mask, which augmentation moves but never blurs."""
        return self.below is not None


class _Common(Config):
    channels: tuple[Channel, ...] = Field(min_length=1)
    brain: str | None = None
    axes: Annotated[str, AfterValidator(_anatomical)] = "LPS"

    @model_validator(mode="after")
    def _check(self) -> "_Common":
        if self.brain is None and any(channel.zscore == "brain" for channel in self.channels):
            raise ValueError("zscore: brain needs brain: the map that is 0 outside the brain")
        return self


class Resize(_Common):
    """Every map stretched to one size, whatever its spacing.

    Args:
        channels: the network's input.
        brain: the map that is 0 outside the brain; None takes the whole image.
        axes: orientation of the network's images.
        kind: "resize".
        size: voxels along each axis; `null` keeps an axis as it is.
        interpolation: how maps are read between their voxels.
    """

    kind: Literal["resize"]
    size: Annotated[tuple[Annotated[int, Field(gt=0)] | None, ...], Field(min_length=2, max_length=3)]
    interpolation: Literal["linear", "nearest"] = "linear"


class BrainBox(_Common):
    """Every map cut to the box of the brain.

    Args:
        channels: the network's input.
        brain: the map that is 0 outside the brain.
        axes: orientation of the network's images.
        kind: "brain-box".
        spacing: in mm along each axis, or (null) the image's own.
        margin: voxels around the brain.
    """

    kind: Literal["brain-box"]
    brain: str
    spacing: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2, max_length=3)] | None = None
    margin: int = Field(default=0, ge=0)


Preprocessing = Annotated[Resize | BrainBox, Field(discriminator="kind")]
