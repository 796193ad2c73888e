"""What may be changed in a sample, how often and how far, and the drawing of it: settings in, parameters out.

A parameter is every number that `apply` needs; none is left to chance.
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from multifocal.config import Config
from multifocal.errors import UserError


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


def _distinct(axes: Any) -> Any:
    if axes is not None and len(set(axes)) != len(axes):
        raise ValueError(f"the axes {list(axes)} name one axis twice")
    return axes


Probability = Annotated[float, Field(ge=0, le=1)]
Axes = Annotated[tuple[Annotated[int, Field(ge=0, le=2)], ...], Field(min_length=1)]
Plane = Annotated[
    tuple[Annotated[int, Field(ge=0, le=2)], Annotated[int, Field(ge=0, le=2)]], AfterValidator(_distinct)
]
Span = tuple[float, float]


class _Transform(Config):
    p: Probability = 0.5


class Noise(_Transform):
    """Gaussian noise of fixed mean.

    Args:
        p: probability.
        mean: in units of the normalized image.
        std: range of the standard deviation, in the same units.

    Example:
        >>> Noise(std=(0.0, 0.05)).p
        0.5
    """

    mean: float = 0.0
    std: Annotated[Span, _span(least=0)] = (0.0, 0.01)


class Anisotropy(_Transform):
    """One axis is sampled more coarsely and interpolated back.

    Args:
        p: probability.
        downsampling: range of how many times more coarsely.
        axes: one of these; None means any.

    Example:
        >>> Anisotropy(axes=(2,)).downsampling
        (1.2, 2.0)
    """

    downsampling: Annotated[Span, _span(least=1)] = (1.2, 2.0)
    axes: Annotated[Axes | None, AfterValidator(_distinct)] = None


class Blur(_Transform):
    """Gaussian blur; each axis draws its own standard deviation.

    Args:
        p: probability.
        std: range of the standard deviation, in mm.

    Example:
        >>> Blur().std
        (0.0, 0.5)
    """

    std: Annotated[Span, _span(least=0)] = (0.0, 0.5)


class Gamma(_Transform):
    """x becomes sign(x) |x|^g; each channel draws its own g.

    Args:
        p: probability.
        log_gamma: range of log g.

    Example:
        >>> Gamma(p=0.3).log_gamma
        (-0.1, 0.1)
    """

    log_gamma: Annotated[Span, _span()] = (-0.1, 0.1)


class Elastic(_Transform):
    """Cubic B-spline displacement by control points that are moved at random.

    `control_points` lie along each axis, one of them outside the image at either end. Displacements above half the
    distance of the control points, size * spacing / (control_points - 3) / 2, can fold the image.

    Args:
        p: probability.
        control_points: along each axis.
        max_displacement: of a control point along each axis, in mm.
        locked_borders: outer layers of control points that stay at rest, at either end of the locked axes.
        locked_axes: TorchIO 1.2.1 locks the first two axes only, and so does the default; None locks all. (In 2D
            TorchIO averages over a third axis, which makes its displacements 0.71 times these.)

    Example:
        >>> Elastic(max_displacement=4.0).control_points
        7
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
    """Rotation about each axis and scaling along each axis, about the centre of the image, in physical space; a shift.

    The shift comes last. Each axis draws its own angle, factor and shift. In 2D there is one angle, about axis 2.

    Args:
        p: probability.
        degrees: range of the angles.
        scales: range of the factors; 1.1 makes things look 1.1 times larger.
        rotate_about: these axes alone; None means all.
        translations: range of the shifts, in voxels.

    Example:
        >>> Affine(degrees=(-5, 5), rotate_about=(2,)).scales
        (0.9, 1.1)
    """

    degrees: Annotated[Span, _span()] = (-10.0, 10.0)
    scales: Annotated[Span, _span(above=0)] = (0.9, 1.1)
    rotate_about: Annotated[Axes | None, AfterValidator(_distinct)] = None
    translations: Annotated[Span, _span()] = (0.0, 0.0)


class Flip(_Transform):
    """Axes are reversed, each independently of the others.

    Args:
        p: probability, for each axis.
        axes: these; None means all.

    Example:
        >>> Flip(axes=(0,)).axes
        (0,)
    """

    axes: Annotated[Axes | None, AfterValidator(_distinct)] = None


class Scale(_Transform):
    """Values are multiplied by a factor; each channel draws its own.

    Args:
        p: probability.
        factors: range of the factor.

    Example:
        >>> Scale(p=0.3).factors
        (0.9, 1.1)
    """

    factors: Annotated[Span, _span()] = (0.9, 1.1)


class Shift(_Transform):
    """Values have an offset added; each channel draws its own.

    Args:
        p: probability.
        offsets: range of the offset, in units of the normalized image.

    Example:
        >>> Shift(p=0.3).offsets
        (-0.1, 0.1)
    """

    offsets: Annotated[Span, _span()] = (-0.1, 0.1)


class QuarterTurns(_Transform):
    """One, two or three quarter turns in the plane of two axes, which exchange places with all that they hold.

    Where they are of unlike length the sample's sizes are exchanged, too. Voxels stay exact; they should have the same
    spacing along both.

    Args:
        p: probability.
        planes: pairs of axes, of which one is drawn.

    Example:
        >>> QuarterTurns(planes=((0, 1), (1, 2))).p
        0.5
    """

    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] = ((0, 1),)


class Paste(_Transform):
    """The lesions of another training case, with what is around them, in the places that they have in its brain.

    Args:
        p: probability.
        values: `absolute` is CarveMix: the region holds the other case's values. `difference`, for quantitative maps:
            its lesions alone are pasted, as what they add to the median of the tissue around them.

    Source:
        Zhang et al., CarveMix, MICCAI 2021.

    Example:
        >>> Paste(p=0.2, values="difference").p
        0.2
    """

    values: Literal["absolute", "difference"] = "absolute"


class _Transforms(Config):
    noise: Noise | None = None
    anisotropy: Anisotropy | None = None
    blur: Blur | None = None
    gamma: Gamma | None = None
    scale: Scale | None = None
    shift: Shift | None = None
    elastic: Elastic | None = None
    affine: Affine | None = None
    flip: Flip | None = None
    quarter_turns: QuarterTurns | None = None
    paste: Paste | None = None

    @property
    def on(self) -> dict[str, Any]:
        """The transforms that are not off, by name."""
        return {name: transform for name in _SAMPLERS if (transform := getattr(self, name)) is not None}


class Member(_Transforms):
    """One of a group, of which one is drawn: transforms, each still with its own p, or none at all.

    Args:
        weight: how often it is drawn, relative to the others.
        noise: as in `Augmentation`, and so are all others.
        anisotropy: coarser sampling along one axis.
        blur: Gaussian blur.
        gamma: powers of the values.
        scale: multiples of the values.
        shift: an offset of the values.
        elastic: B-spline displacement.
        affine: rotation, scaling and a shift.
        flip: reversed axes.
        quarter_turns: turned planes.
        paste: lesions of other cases.

    Example:
        >>> Member(weight=2, flip=Flip(p=1)).noise
    """

    weight: Annotated[float, Field(gt=0)] = 1.0


class OneOf(_Transform):
    """Exactly one member of a group is drawn.

    Args:
        p: probability that any is.
        members: the group.

    Example:
        >>> OneOf(p=1, members=(Member(), Member(flip=Flip(p=1)))).members[0].on
        {}
    """

    members: Annotated[tuple[Member, ...], Field(min_length=2)]


class Augmentation(_Transforms):
    """The random changes of a training sample; what is None stays off.

    They are applied in this order: paste, noise, anisotropy, blur, gamma, scale, shift, then flip, affine and elastic
    at once, and quarter turns. The defaults of noise, anisotropy, blur and gamma are those of the published HIE
    systems, those of elastic, affine and flip are TorchIO's.

    Args:
        noise: Gaussian noise.
        anisotropy: coarser sampling along one axis.
        blur: Gaussian blur.
        gamma: powers of the values.
        scale: multiples of the values.
        shift: an offset of the values.
        elastic: B-spline displacement.
        affine: rotation, scaling and a shift.
        flip: reversed axes.
        quarter_turns: turned planes.
        paste: lesions of other cases.
        one_of: groups, of each of which one member is drawn; a transform stands in one group, or in none.

    Example:
        >>> Augmentation.model_validate({"gamma": {"p": 0.3}, "flip": {"axes": [0]}}).gamma
        Gamma(p=0.3, log_gamma=(-0.1, 0.1))
    """

    one_of: tuple[OneOf, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        seen = set(self.on)
        for number, group in enumerate(self.one_of):
            own = {name for member in group.members for name in member.on}
            if both := sorted(own & seen):
                raise ValueError(
                    f"{both[0]} stands in one_of.{number} and elsewhere: a sample has it once; leave one out"
                )
            seen |= own
        return self

    @property
    def pastes(self) -> bool:
        """Whether lesions may be pasted."""
        groups = (member for group in self.one_of for member in group.members)
        return any(part.paste is not None for part in (self, *groups))

    def axes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name the axes that are said anywhere, but for those that are turned about.

        Yields:
            tuple[str, tuple[int, ...]]: the dotted key, and the axes.
        """
        for where, part in self._parts():
            for name, key in (("flip", "axes"), ("anisotropy", "axes"), ("elastic", "locked_axes")):
                if (axes := getattr(getattr(part, name), key, None)) is not None:
                    yield f"{where}{name}.{key}", axes
            for plane in part.quarter_turns.planes if part.quarter_turns is not None else ():
                yield f"{where}quarter_turns.planes", plane

    def rotations(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name the axes that are turned about, wherever they are said.

        Yields:
            tuple[str, tuple[int, ...]]: the dotted key, and the axes.
        """
        for where, part in self._parts():
            if part.affine is not None and part.affine.rotate_about is not None:
                yield f"{where}affine.rotate_about", part.affine.rotate_about

    def _parts(self) -> list[tuple[str, _Transforms]]:
        """Return this and all members of groups, by the beginnings of their dotted keys."""
        parts: list[tuple[str, _Transforms]] = [("", self)]
        for number, group in enumerate(self.one_of):
            parts += [(f"one_of.{number}.members.{k}.", member) for k, member in enumerate(group.members)]
        return parts


@dataclass(frozen=True, kw_only=True)
class DrawnNoise:
    """The noise that was drawn.

    Attributes:
        mean: in units of the normalized image.
        std: standard deviation.
        seed: of its values.
    """

    mean: float
    std: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class DrawnAnisotropy:
    """The coarser sampling that was drawn.

    Attributes:
        axis: which axis, from 0.
        factor: how many times more coarsely.
    """

    axis: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class DrawnAffine:
    """The rotation, the scaling and the shift that were drawn.

    Attributes:
        angles: in radians, about x, y, z; in 2D only one.
        scales: factors along each axis.
        translations: in voxels along each axis; () is none.
    """

    angles: tuple[float, ...]
    scales: tuple[float, ...]
    translations: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DrawnTurns:
    """The quarter turns that were drawn, each of the first axis towards the second.

    Attributes:
        plane: the two axes.
        count: how many, 1 to 3.
    """

    plane: tuple[int, int]
    count: int


@dataclass(frozen=True, kw_only=True)
class DrawnPaste:
    """What was drawn of the lesions to paste.

    Attributes:
        donor: which of the other cases with lesions, from 0 to 1.
        reach: how far the region reaches beyond the lesions, as a share of their depth: from -1/2 to 1.
        values: `absolute` or `difference`.
    """

    donor: float
    reach: float
    values: Literal["absolute", "difference"]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """All that was drawn for one sample; None or () is a change that was not drawn.

    Attributes:
        noise: the noise.
        anisotropy: the coarser sampling.
        blur: a standard deviation in mm an axis.
        gamma: an exponent a channel.
        scale: a factor a channel.
        shift: an offset a channel.
        elastic: displacements of the control points in mm, float32 (ndim, *points).
        affine: rotation, scaling and shift.
        flip: the axes to reverse.
        quarter_turns: the turns.
        paste: whose lesions, and how much around them.

    Example:
        >>> Parameters(flip=(0,)).gamma
        ()
    """

    noise: DrawnNoise | None = None
    anisotropy: DrawnAnisotropy | None = None
    blur: tuple[float, ...] = ()
    gamma: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    elastic: Tensor | None = None
    affine: DrawnAffine | None = None
    flip: tuple[int, ...] = ()
    quarter_turns: DrawnTurns | None = None
    paste: DrawnPaste | None = None


def draw(settings: Augmentation, *, channels: int, size: Sequence[int], generator: torch.Generator) -> Parameters:
    """Draw the parameters for one sample.

    The generator is asked once, for one seed a transform and one for the groups: neither switching a transform on or
    off nor what it draws changes anything for the others.

    Args:
        settings: what may change.
        channels: of the sample whose values may change; prior masks and channels of places are not counted.
        size: voxels along each axis.
        generator: source of all chance.

    Returns:
        What was drawn.

    Raises:
        UserError: the settings name an axis that an image of this size does not have.

    Example:
        >>> settings = Augmentation(gamma=Gamma(p=1))
        >>> drawn = draw(settings, channels=2, size=(8, 8), generator=torch.Generator().manual_seed(0))
        >>> len(drawn.gamma), drawn.noise
        (2, None)
    """
    for where, axes in settings.axes():
        if max(axes) >= len(size):
            raise UserError(
                f"augmentation, {where}: a {len(size)}D image has no axis {max(axes)}; use axes 0 to {len(size) - 1}"
            )
    for where, axes in settings.rotations():
        if len(size) == 2 and axes != (2,):
            raise UserError(f"augmentation, {where}: {list(axes)}: a 2D image turns about axis 2 alone; say [2]")
    *seeds, last = torch.randint(2**62, (len(_SAMPLERS) + 1,), generator=generator, device=generator.device).tolist()
    drawn = _draw_each(settings, seeds, channels, tuple(size))
    groups = _Dice(torch.Generator().manual_seed(last))
    for group in settings.one_of:
        dice = _Dice(torch.Generator().manual_seed(groups.integer(2**62)))
        if dice.hits(group.p):
            ends = list(accumulate(member.weight for member in group.members))
            member = group.members[bisect(ends, dice.uniform((0, ends[-1]), 1)[0])]
            drawn |= _draw_each(member, [dice.integer(2**62) for _ in _SAMPLERS], channels, tuple(size))
    return Parameters(**drawn)


def _draw_each(settings: _Transforms, seeds: Sequence[int], channels: int, size: tuple[int, ...]) -> dict[str, Any]:
    drawn = {}
    for (name, sample), seed in zip(_SAMPLERS.items(), seeds, strict=True):
        transform = getattr(settings, name)
        if transform is None:
            continue
        dice = _Dice(torch.Generator().manual_seed(seed))
        if name == "flip" or dice.hits(transform.p):
            drawn[name] = sample(transform, channels, size, dice)
    return drawn


@dataclass(frozen=True)
class _Dice:
    generator: torch.Generator

    def hits(self, probability: float) -> bool:
        return self.uniform((0, 1), 1)[0] < probability

    def uniform(self, span: tuple[float, float], count: int) -> list[float]:
        low, high = span
        return [
            low + (high - low) * u for u in torch.rand(count, dtype=torch.float64, generator=self.generator).tolist()
        ]

    def integer(self, below: int) -> int:
        return int(torch.randint(below, (1,), generator=self.generator))


def _noise(noise: Noise, channels: int, size: tuple[int, ...], dice: _Dice) -> DrawnNoise:
    return DrawnNoise(mean=noise.mean, std=dice.uniform(noise.std, 1)[0], seed=dice.integer(2**62))


def _anisotropy(anisotropy: Anisotropy, channels: int, size: tuple[int, ...], dice: _Dice) -> DrawnAnisotropy | None:
    axes = [axis for axis in _axes(anisotropy.axes, len(size)) if size[axis] > 1]
    if not axes:
        return None
    return DrawnAnisotropy(axis=axes[dice.integer(len(axes))], factor=dice.uniform(anisotropy.downsampling, 1)[0])


def _blur(blur: Blur, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(dice.uniform(blur.std, len(size)))


def _gamma(gamma: Gamma, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(math.exp(log_gamma) for log_gamma in dice.uniform(gamma.log_gamma, channels))


def _scale(scale: Scale, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(dice.uniform(scale.factors, channels))


def _shift(shift: Shift, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[float, ...]:
    return tuple(dice.uniform(shift.offsets, channels))


def _quarter_turns(turns: QuarterTurns, channels: int, size: tuple[int, ...], dice: _Dice) -> DrawnTurns:
    return DrawnTurns(plane=turns.planes[dice.integer(len(turns.planes))], count=1 + dice.integer(3))


def _paste(paste: Paste, channels: int, size: tuple[int, ...], dice: _Dice) -> DrawnPaste:
    (donor,), grows = dice.uniform((0, 1), 1), dice.hits(0.5)
    reach = dice.uniform((0, 1) if grows else (-0.5, 0), 1)[0]
    return DrawnPaste(donor=donor, reach=reach, values=paste.values)


def _elastic(elastic: Elastic, channels: int, size: tuple[int, ...], dice: _Dice) -> Tensor:
    ndim, points, locked = len(size), elastic.control_points, elastic.locked_borders
    field = torch.rand(ndim, *[points] * ndim, generator=dice.generator).mul_(2).sub_(1).mul_(elastic.max_displacement)
    for axis in _axes(elastic.locked_axes, ndim):
        field.narrow(axis + 1, 0, locked).zero_()
        field.narrow(axis + 1, points - locked, locked).zero_()
    return field


def _affine(affine: Affine, channels: int, size: tuple[int, ...], dice: _Dice) -> DrawnAffine:
    drawn = dice.uniform(affine.degrees, 3 if len(size) == 3 else 1)
    about = range(len(drawn)) if affine.rotate_about is None or len(drawn) == 1 else affine.rotate_about
    angles = tuple(math.radians(angle) if axis in about else 0.0 for axis, angle in enumerate(drawn))
    scales = tuple(dice.uniform(affine.scales, len(size)))
    shifts = tuple(dice.uniform(affine.translations, len(size))) if any(affine.translations) else ()
    return DrawnAffine(angles=angles, scales=scales, translations=shifts)


def _flip(flip: Flip, channels: int, size: tuple[int, ...], dice: _Dice) -> tuple[int, ...]:
    return tuple(axis for axis in _axes(flip.axes, len(size)) if dice.hits(flip.p))


def _axes(axes: tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    return tuple(range(ndim)) if axes is None else axes


_SAMPLERS: dict[str, Callable[..., Any]] = {
    "noise": _noise,
    "anisotropy": _anisotropy,
    "blur": _blur,
    "gamma": _gamma,
    "elastic": _elastic,
    "affine": _affine,
    "flip": _flip,
    "scale": _scale,
    "shift": _shift,
    "quarter_turns": _quarter_turns,
    "paste": _paste,
}  # a new one goes to the end: each takes the seed of its place, and earlier ones keep theirs
