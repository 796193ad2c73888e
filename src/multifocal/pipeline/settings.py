"""What a recipe may say about preprocessing."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from multifocal.config import Config

Range = tuple[float, float]
Percentile = Annotated[float, Field(ge=0, le=100)]


def _anatomical(axes: str) -> str:
    if len(axes) != 3 or any(len(set(axes) & set(pair)) != 1 for pair in ("LR", "PA", "SI")):
        raise ValueError("expected one letter each of L/R, P/A and S/I, as in LPS")
    return axes


class Reciprocal(Config):
    """R = m / (1 + |z0| + max(z, z0))^power in the brain, 0 outside: bright where m is high and z is low.

    Aydin's third channel of ADC and Z-ADC (m and z), with z0 the least z; the print has min |z|, which makes the power
    of a negative number.

    Args:
        name: "reciprocal".
        by: the map z.
        power: the exponent.
        minimum: z0: the least z of the brain, of the brain in each `slice`, or a number.
    """

    name: Literal["reciprocal"]
    by: str
    power: Annotated[float, Field(gt=0)] = 1.5
    minimum: Literal["image", "slice"] | float = "image"


class Mirror(Config):
    """The map's mirror image across the mid-sagittal plane.

    The plane is perpendicular to the axis of left and right, and lies where the brain and its mirror image overlap
    most (without a brain in the middle of the image). What comes from outside the image is 0.

    Args:
        name: "mirror".
    """

    name: Literal["mirror"]


class MirrorDifference(Config):
    """The map minus its mirror image, see `Mirror`, where both are in the brain; 0 elsewhere.

    Args:
        name: "mirror-difference".
    """

    name: Literal["mirror-difference"]


class Coordinates(Config):
    """Where a voxel lies along an axis: from -1 to 1 between the sides of the brain's box, and on beyond them.

    Args:
        name: "coordinates".
        axis: of the network's images, from 0.
    """

    name: Literal["coordinates"]
    axis: Annotated[int, Field(ge=0, le=2)]


class LesionFrequency(Config):
    """How often the training cases have lesion there, in the space of the brain's box.

    To a training case the cases of all other subjects count, so that none sees its own lesions; see
    `multifocal.pipeline.lesion_frequency`.

    Args:
        name: "lesion-frequency".
        cells: of the box along each axis.
        smooth: standard deviation of a Gaussian over the cells, in cells.
    """

    name: Literal["lesion-frequency"]
    cells: Annotated[int, Field(ge=2, le=128)] = 24
    smooth: Annotated[float, Field(ge=0)] = 1.0


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Derivation = Annotated[
    Annotated[Reciprocal | Mirror | MirrorDifference | Coordinates | LesionFrequency, Field(discriminator="name")],
    BeforeValidator(_by_name),
]


class Channel(Config):
    """One input channel of the network: a map of the case, and what is done to its values, in this order.

    Args:
        map: the map's name in the cohort (`adc`, `zadc`, ...); channels of places (`coordinates`, `lesion-frequency`)
            have none.
        n4: correct the map's bias field by N4 on the scan's own grid.
        derive: what is made of the map: its name, or a mapping of name and options.
        below: turn the values into the binary prior `value < below` (0 outside the brain).
        clip: limits, either of them null.
        percentiles: clip to these percentiles, from 0 to 100.
        range: `(low, high)` goes to `(0, 1)`; `image` takes least and greatest, and `slice` those of each slice along
            the last axis (a constant slice becomes 0).
        over: what `percentiles` and `range: image` or `slice` are taken of: the `image`, or the `brain` in it.
        standardize: `(mean, std)`: subtract the one and divide by the other.
        zscore: the same with those of the `image`, or of the `brain` (then 0 outside).
        background: the value outside the brain.
    """

    map: str | None = None
    n4: bool = False
    derive: Derivation | None = None
    below: float | None = None
    clip: tuple[float | None, float | None] | None = None
    percentiles: tuple[Percentile, Percentile] | None = None
    range: Range | Literal["image", "slice"] | None = None
    over: Literal["image", "brain"] = "image"
    standardize: tuple[float, Annotated[float, Field(gt=0)]] | None = None
    zscore: Literal["image", "brain"] | None = None
    background: float | None = None

    @model_validator(mode="after")
    def _check(self) -> "Channel":
        if self.map is None and not self.is_place:
            raise ValueError("map is missing: the name of the map that the channel is made from")
        if self.is_place and (self.map is not None or self.n4):
            raise ValueError(f"derive {self.derive and self.derive.name} is made from no map; leave map and n4 out")
        if isinstance(self.range, tuple) and self.range[0] >= self.range[1]:
            raise ValueError(f"range={list(self.range)}: expected low < high")
        if self.percentiles is not None and self.percentiles[0] >= self.percentiles[1]:
            raise ValueError(f"percentiles={list(self.percentiles)}: expected low < high")
        if self.clip is not None:
            low, high = self.clip
            if low is None and high is None:
                raise ValueError("clip=[null, null] clips nothing: give a limit, or leave clip out")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"clip=[{low}, {high}]: expected low < high")
        changed = (self.clip, self.percentiles, self.range, self.standardize, self.zscore, self.background)
        if self.below is not None and any(value is not None for value in changed):
            raise ValueError("below makes a binary prior, which is not clipped, scaled or normalised")
        if self.standardize is not None and self.zscore is not None:
            raise ValueError("standardize and zscore both set mean and spread; leave one of them out")
        if self.over == "brain" and self.percentiles is None and not isinstance(self.range, str):
            raise ValueError(
                "over: brain says what percentiles and range: image or slice are taken of; set one of them"
            )
        return self

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of the maps that it is made from."""
        second = (self.derive.by,) if isinstance(self.derive, Reciprocal) else ()
        return second if self.map is None else (self.map, *second)

    @property
    def is_prior(self) -> bool:
        """Whether the channel is a binary mask, which augmentation moves but never blurs."""
        return self.below is not None

    @property
    def is_place(self) -> bool:
        """Whether it says of a voxel where it lies, not what was measured there: augmentation moves it, and no more."""
        return isinstance(self.derive, Coordinates | LesionFrequency)


class _Common(Config):
    channels: tuple[Channel, ...] = Field(min_length=1)
    brain: str | None = None
    axes: Annotated[str, AfterValidator(_anatomical)] = "LPS"

    @model_validator(mode="after")
    def _check(self) -> "_Common":
        if self.brain is None:
            for key, needy in (
                ("zscore: brain", any(channel.zscore == "brain" for channel in self.channels)),
                ("over: brain", any(channel.over == "brain" for channel in self.channels)),
                ("background", any(channel.background is not None for channel in self.channels)),
            ):
                if needy:
                    raise ValueError(f"{key} needs brain: the map that is 0 outside the brain")
        if all(channel.is_place for channel in self.channels):
            raise ValueError("channels: all of them say only where a voxel lies; add one that is made from a map")
        if sum(isinstance(channel.derive, LesionFrequency) for channel in self.channels) > 1:
            raise ValueError("channels: lesion-frequency stands twice; leave one of them out")
        return self

    @property
    def maps(self) -> tuple[str, ...]:
        """The names of the maps that channels and brain are made from, each once, that of the brain first."""
        brain = () if self.brain is None else (self.brain,)
        return tuple(dict.fromkeys((*brain, *(name for channel in self.channels for name in channel.maps))))

    @property
    def lesion_frequency(self) -> LesionFrequency | None:
        """What the channel of lesion frequency, if there is one, is to be made by."""
        found = [channel.derive for channel in self.channels if isinstance(channel.derive, LesionFrequency)]
        return found[0] if found else None

    def without_lesion_frequency(self) -> Self:
        """Return the same settings without that channel."""
        left = tuple(channel for channel in self.channels if not isinstance(channel.derive, LesionFrequency))
        return self.model_copy(update={"channels": left})


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
