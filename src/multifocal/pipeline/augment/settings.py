"""What may be changed in a sample, how often and how far, as it is written in a recipe."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _span(*, least: float = -math.inf, above: float = -math.inf) -> AfterValidator:
    """Return the check of a range (low, high): finite, low first, low >= `least` and > `above`."""

    def check(span: tuple[float, float]) -> tuple[float, float]:
        low, high = span
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"the range {low:g} to {high:g} must be finite")
        if low > high:
            raise ValueError(f"the range {low:g} to {high:g} runs backwards; write the lower end first")
        if low < least:
            raise ValueError(f"the range {low:g} to {high:g} must not go below {least:g}")
        if low <= above:
            raise ValueError(f"the range {low:g} to {high:g} must stay above {above:g}")
        return span

    return AfterValidator(check)


def _distinct(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if axes is not None and len(set(axes)) != len(axes):
        raise ValueError(f"the axes {list(axes)} name one axis twice")
    return axes


Probability = Annotated[float, Field(ge=0, le=1)]
Axes = Annotated[tuple[Annotated[int, Field(ge=0, le=2)], ...], Field(min_length=1)]
Span = tuple[float, float]


class _Transform(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    p: Probability = 0.5


class Noise(_Transform):
    """Gaussian noise of fixed mean; its standard deviation is drawn from `std`, in units of the normalized image."""

    mean: float = 0.0
    std: Annotated[Span, _span(least=0)] = (0.0, 0.01)


class Anisotropy(_Transform):
    """One of `axes` (None: any) is sampled `downsampling` times more coarsely and interpolated back."""

    downsampling: Annotated[Span, _span(least=1)] = (1.2, 2.0)
    axes: Annotated[Axes | None, AfterValidator(_distinct)] = None


class Blur(_Transform):
    """Gaussian blur; each axis draws its own standard deviation from `std`, in mm."""

    std: Annotated[Span, _span(least=0)] = (0.0, 0.5)


class Gamma(_Transform):
    """x becomes sign(x) |x|^g; each channel draws its own log g from `log_gamma`."""

    log_gamma: Annotated[Span, _span()] = (-0.1, 0.1)


class Elastic(_Transform):
    """Cubic B-spline displacement, its control points moved by up to `max_displacement` mm along each axis.

    `control_points` lie along each axis, one of them outside the image at either end. At either end of the
    `locked_axes` the outer `locked_borders` layers of control points stay at rest. TorchIO 1.2.1 locks the first two
    axes only, and so does the default; None locks all. (In 2D TorchIO averages over a third axis, which makes its
    displacements 0.71 times these.) Displacements above half the distance of the control points,
    size * spacing / (control_points - 3) / 2, can fold the image.
    """

    control_points: Annotated[int, Field(ge=4, le=64)] = 7
    max_displacement: Annotated[float, Field(ge=0)] = 7.5
    locked_borders: Literal[0, 1, 2] = 2
    locked_axes: Annotated[Axes | None, AfterValidator(_distinct)] = (0, 1)

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.control_points <= 2 * self.locked_borders:
            raise ValueError(
                f"{self.control_points} control points with {self.locked_borders} locked borders leave none to move; "
                f"use at least {2 * self.locked_borders + 1} control points or lock fewer borders"
            )
        return self


class Affine(_Transform):
    """Rotation about each axis and scaling along each axis, about the centre of the image, in physical space.

    Each axis draws its own angle from `degrees` and its own factor from `scales` (1.1: things look 1.1 times larger).
    In 2D there is one angle.
    """

    degrees: Annotated[Span, _span()] = (-10.0, 10.0)
    scales: Annotated[Span, _span(above=0)] = (0.9, 1.1)


class Flip(_Transform):
    """Each of `axes` (None: any) is reversed with probability `p`, independently of the others."""

    axes: Annotated[Axes | None, AfterValidator(_distinct)] = None


class Augmentation(BaseModel):
    """The random changes of a training sample; what is None stays off.

    They are applied in this order: noise, anisotropy, blur, gamma, then all changes of geometry at once. The defaults
    of noise, anisotropy, blur and gamma are those of the published HIE systems, those of elastic, affine and flip
    are TorchIO's.

    Example:
        >>> Augmentation.model_validate({"gamma": {"p": 0.3}, "flip": {"axes": [0]}}).gamma
        Gamma(p=0.3, log_gamma=(-0.1, 0.1))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: Noise | None = None
    anisotropy: Anisotropy | None = None
    blur: Blur | None = None
    gamma: Gamma | None = None
    elastic: Elastic | None = None
    affine: Affine | None = None
    flip: Flip | None = None
