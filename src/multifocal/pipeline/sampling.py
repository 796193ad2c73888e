"""What an epoch takes of the training cases: which, how often, and random crops on lesions or anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from multifocal.config import Config, Share
from multifocal.instances import label

Count = Annotated[int, Field(gt=0)]


class Sampling(Config):
    """What an epoch takes of the training cases; the default is each of them once, and whole.

    A crop that would leave the image is shifted inside. Along an axis on which the image is shorter, the crop is the
    whole axis and 0 (what preprocessing has outside the brain, and batches of unlike sizes have at their far end).

    Args:
        crop: size in voxels along each axis of the network, any of them null for the whole axis; None takes all whole.
        per_case: samples of an image in an epoch. (To a 2D network each slice of a volume is an image, but for
            `slices`.)
        centred: share of the crops that have a voxel of a lesion in their centre; the others, and those of images
            without a lesion, lie anywhere. Share of the `slices` that hold lesion; the others are any.
        by: on which voxel: any `voxel` of lesion alike, or any `lesion` alike, whatever its size, and then any of its
            own.
        empty: `keep` or `drop` cases without lesion on the network's grid.
        weights: of the cases in an epoch, which has as many samples either way: all `equal`, each then comes once; or
            in proportion to their `burden`, the lesion's share of the brain, an empty case like the least other.
        slices: of a volume, for a 2D network: so many are drawn of a case, and stay together in a batch, of which
            `training.batch_size` then counts the cases; None takes each slice that holds brain once.

    Example:
        >>> Sampling(crop=(96, 96, 96), per_case=4, centred=0.5, by="lesion").per_case
        4
    """

    crop: Annotated[tuple[Count | None, ...], Field(min_length=2, max_length=3)] | None = None
    per_case: Count = 1
    centred: Share = 0.0
    by: Literal["voxel", "lesion"] = "voxel"
    empty: Literal["keep", "drop"] = "keep"
    weights: Literal["equal", "burden"] = "equal"
    slices: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> "Sampling":
        if self.centred and self.crop is None and self.slices is None:
            raise ValueError(
                "centred says where crops lie, but crop is null: set crop (2D networks: or slices), or leave it out"
            )
        return self

    @property
    def is_blind(self) -> bool:
        """Whether all cases are taken alike, whatever lesions they have."""
        return self.empty == "keep" and self.weights == "equal"

    def crop_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Return the size of a sample.

        Args:
            size: of the image.

        Returns:
            The crop's, or without one the image's.

        Example:
            >>> Sampling(crop=(8, None)).crop_size((5, 6))
            (8, 6)
        """
        if self.crop is None:
            return tuple(size)
        return tuple(n if length is None else length for length, n in zip(self.crop, size, strict=True))


@dataclass(frozen=True, eq=False)
class LesionVoxels:
    """Where the lesions of an image are, found once an image and drawn from many times.

    Attributes:
        voxels: flat indices, lesion after lesion.
        starts: for each lesion where its voxels begin among these, and then their number.
        size: of the image.

    Example:
        >>> found = LesionVoxels.of(np.array([[1, 1, 0, 0, 1]]))
        >>> found.voxels.tolist(), found.starts.tolist()
        ([0, 1, 4], [0, 2, 3])
    """

    voxels: np.ndarray
    starts: np.ndarray
    size: tuple[int, ...]

    @classmethod
    def of(cls, target: np.ndarray) -> "LesionVoxels":
        """Find the lesions of a mask.

        Args:
            target: 0/1 `(*spatial)`.

        Returns:
            Their voxels.
        """
        found = label(np.asarray(target)[None].astype(bool))
        order = np.argsort(found.labels, kind="stable")
        return cls(found.voxels[order], np.concatenate([[0], np.cumsum(found.sizes)]), target.shape)

    def draw(self, chance: np.random.Generator, *, by: Literal["voxel", "lesion"]) -> tuple[int, ...]:
        """Draw a voxel of a lesion; there must be one.

        Args:
            chance: the source of all chance.
            by: any `voxel` alike, or any `lesion` alike.

        Returns:
            Its place.
        """
        begin, end = 0, len(self.voxels)
        if by == "lesion":
            lesion = chance.integers(len(self.starts) - 1)
            begin, end = self.starts[lesion : lesion + 2]
        return tuple(int(i) for i in np.unravel_index(self.voxels[chance.integers(begin, end)], self.size))


def draw_slices(
    lesion: np.ndarray, *, count: int, centred: float, chance: np.random.Generator
) -> list[tuple[int, bool]]:
    """Draw slices of a case, none twice but where those of its kind have all been drawn.

    Args:
        lesion: bool, an element a slice to draw from: whether it holds lesion.
        count: how many.
        centred: share of those that hold lesion for sure; without such slices any stand in.
        chance: the source of all chance.

    Returns:
        Number of each slice, and whether it was drawn for its lesion.

    Example:
        >>> lesion = np.array([False, True, False, False])
        >>> draw_slices(lesion, count=3, centred=0.5, chance=np.random.default_rng(0))
        [(3, False), (1, True), (1, True)]
    """
    wanted = chance.random(count) < centred if lesion.any() else np.zeros(count, bool)
    held = chance.permutation(np.flatnonzero(lesion))
    first = held[np.arange(wanted.sum()) % max(1, len(held))] if wanted.any() else held[:0]
    others = chance.permutation(np.setdiff1d(np.arange(len(lesion)), first))
    others = others if len(others) else np.arange(len(lesion))
    rest = others[np.arange(count - len(first)) % len(others)]
    numbers = np.empty(count, int)
    numbers[wanted], numbers[~wanted] = first, rest
    return [(int(number), bool(flag)) for number, flag in zip(numbers, wanted, strict=True)]


def draw_centre(
    lesions: LesionVoxels, *, centred: float, by: Literal["voxel", "lesion"], chance: np.random.Generator
) -> tuple[int, ...] | None:
    """Draw whether a crop is centred on a lesion, and on which voxel.

    Args:
        lesions: of the image.
        centred: how likely.
        by: any `voxel` alike, or any `lesion` alike.
        chance: the source of all chance.

    Returns:
        The voxel, or None for a crop that lies anywhere.

    Example:
        >>> lesions = LesionVoxels.of(np.array([[0, 0, 1]]))
        >>> draw_centre(lesions, centred=1.0, by="voxel", chance=np.random.default_rng(0))
        (0, 2)
    """
    if chance.random() < centred and len(lesions.voxels):
        return lesions.draw(chance, by=by)
    return None


def draw_corner(
    size: Sequence[int], crop: Sequence[int], centre: Sequence[int] | None, chance: np.random.Generator
) -> tuple[int, ...]:
    """Return the first voxel of a crop that lies inside the image, and begins with it where it is larger.

    Args:
        size: of the image.
        crop: its own.
        centre: the voxel to have in its centre as far as that is possible; None draws any corner alike.
        chance: the source of all chance.

    Returns:
        The corner.

    Example:
        >>> draw_corner((10, 10, 10), (4, 4, 12), (5, 9, 5), np.random.default_rng(0))
        (3, 6, 0)
    """
    room = np.maximum(np.subtract(size, crop), 0)
    wanted = chance.integers(room, endpoint=True) if centre is None else np.subtract(centre, np.floor_divide(crop, 2))
    return tuple(int(i) for i in np.clip(wanted, 0, room))


def burden_weights(burdens: Sequence[float]) -> list[float] | None:
    """Return how often cases come, relative to one another.

    Args:
        burdens: the lesion's share of the brain, of each.

    Returns:
        The burdens, with the least that is not 0 in the place of 0; None where all are 0 and so alike.

    Example:
        >>> burden_weights([0.0, 0.2, 0.01])
        [0.01, 0.2, 0.01]
    """
    least = min((burden for burden in burdens if burden > 0), default=None)
    return None if least is None else [burden or least for burden in burdens]


def draw_weighted(weights: Sequence[float], chance: np.random.Generator) -> list[int]:
    """Draw as many times as there are weights, each number in proportion to its own.

    By systematic resampling: what is expected n times comes n times, rounded up or down.

    Args:
        weights: above 0.
        chance: the source of all chance.

    Returns:
        Numbers from 0; the k-th repetition of one (k = 0, 1, ...) has k times the number of weights added,
        so that no two are the same.

    Example:
        >>> draw_weighted([1.0, 2.0, 1.0, 4.0], np.random.default_rng(0))
        [1, 2, 3, 7]
    """
    count = len(weights)
    ends = np.cumsum(weights)
    places = (np.arange(count) + chance.random()) * (ends[-1] / count)
    drawn = np.minimum(np.searchsorted(ends, places, side="right"), count - 1)
    copies = np.arange(count) - np.searchsorted(drawn, drawn)
    return [int(i) for i in drawn + copies * count]
