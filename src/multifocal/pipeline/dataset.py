"""Training samples: prepared cases, their slices or crops, augmented by a draw from seed, epoch and index alone."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from multifocal.cohorts import Case, Labels
from multifocal.cohorts.labels import IGNORED, lesion_in
from multifocal.errors import UserError
from multifocal.metrics import burden
from multifocal.pipeline.augment import (
    Augmentation,
    Donor,
    Parameters,
    Pasted,
    apply,
    apply_crop,
    draw,
    new_place,
    paste,
    turned_size,
)
from multifocal.pipeline.augment.paste import Box
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.sampling import (
    LesionVoxels,
    Sampling,
    burden_weights,
    draw_centre,
    draw_corner,
    draw_slices,
    draw_weighted,
)
from multifocal.volumes import bounding_box

Item = tuple[int, int]  # (epoch, index)
_ALL = Sampling()


@dataclass(frozen=True)
class Sample:
    """One augmented training sample.

    Attributes:
        images: float32 `(C, *spatial)`.
        target: uint8 `(*spatial)`, the codes of `Labels`: of a mask 0 and 1.
    """

    images: torch.Tensor
    target: torch.Tensor


class TrainingSet(Dataset[list[Sample]]):
    """Samples of a list of cases for a 2D or 3D network; a 2D network on 3D cases sees the slices that hold brain.

    Args:
        cases: cases with labels.
        cache: where prepared cases come from.
        augmentation: the random changes.
        dimensions: 2 or 3, the network's.
        seed: of the run; a sample depends on (seed, epoch, index) and on nothing else, whichever worker draws it.
        sampling: what an epoch takes of them.

    Raises:
        UserError: a case has no label, or fewer dimensions than the network; all are empty and dropped; or there are no
            two cases whose lesions could be pasted.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        cache: Cache,
        *,
        augmentation: Augmentation,
        dimensions: int,
        seed: int,
        sampling: Sampling = _ALL,
    ) -> None:
        self.cases, self.cache, self.augmentation, self.seed = list(cases), cache, augmentation, seed
        self.sampling = sampling
        self._lesions: dict[tuple[int, int | None], LesionVoxels] = {}
        self._slices: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # of a case: those with brain, whether with lesion
        channels = cache.settings.channels
        self.prior = [i for i, channel in enumerate(channels) if channel.is_prior]
        self.places = [i for i, channel in enumerate(channels) if channel.is_place and not channel.is_prior]
        self._donors: dict[int, Donor] = {}
        self._boxes: dict[int, Box] = {}
        self.index: list[tuple[int, int | None]] = []
        self.sizes: list[tuple[int, ...]] = []
        burdens: list[float] = []
        for position, case in enumerate(self.cases):
            prepared = cache.get(case)
            if prepared.target is None:
                raise UserError(f"case {case.name}: has no label to train on; leave it out of the training fold")
            size = prepared.target.shape
            if len(size) < dimensions:
                raise UserError(f"case {case.name}: is {len(size)}D, but the network is {dimensions}D")
            share = 1.0 if sampling.is_blind else burden(lesion_in(prepared.target), prepared.inside)
            if sampling.empty == "drop" and not share:
                continue
            slices: list[int | None] = [None]
            if len(size) > dimensions:
                held = np.flatnonzero(prepared.inside.any(axis=(0, 1)))
                if sampling.slices is None:
                    slices = [int(z) for z in held]
                else:
                    self._slices[position] = held, np.asarray(lesion_in(prepared.target[..., held]).any(axis=(0, 1)))
            elif sampling.slices is not None:
                raise UserError(f"case {case.name}: is 2D and has no slices to draw; leave sampling.slices out")
            self.index += [(position, z) for z in slices for _ in range(sampling.per_case)]
            samples = len(slices) * sampling.per_case
            self.sizes += [sampling.crop_size(size[:dimensions])] * samples
            burdens += [share] * samples
        if not self.index:
            raise UserError("sampling.empty=drop: no case to train on has a lesion; choose keep")
        self._check_crop(dimensions)
        if not cache.labels.is_mask or cache.labels.ignore is not None:
            self._check_codes()
        self._lesioned = [position for position, _ in enumerate(self.cases) if self._can_give(position)]
        if augmentation.pastes and len(self._lesioned) < 2:
            raise UserError(
                "augmentation.paste: needs two training cases with lesions, each to take the other's; leave it out"
            )
        self.weights = burden_weights(burdens) if sampling.weights == "burden" else None

    def _check_crop(self, dimensions: int) -> None:
        """Tell of a crop that is filled up along an axis in every sample: usual for 128³, else perhaps a mistake."""
        for axis, length in enumerate(self.sampling.crop or ()):
            largest = max(self.cache.get(case).target.shape[axis] for case in self.cases)  # type: ignore[union-attr]
            if length is not None and length > largest:
                warnings.warn(
                    f"sampling.crop: {length} voxels along axis {axis} are more than any training case has there "
                    f"({largest} at most); the rest is 0: choose at most as many, or null for the whole axis",
                    stacklevel=2,
                )

    def _check_codes(self) -> None:
        """Refuse cases of which nothing is judged, and classes that no case has: they would never be found."""
        labels, counts = self.cache.labels, np.zeros(256, np.int64)
        for case in self.cases:
            target = np.asarray(self.cache.get(case).target)
            own = np.bincount(target.ravel(), minlength=256)
            if own[IGNORED] == target.size:
                raise UserError(f"case {case.name}: all of its label is ignored ({labels.ignore}); leave it out")
            counts += own
        for number, (name, values) in enumerate(labels.values_of.items()):
            if labels.several and not counts[labels.members[:, number]].any():
                raise UserError(
                    f"class {name}: no training case has a voxel of it (value {', '.join(map(str, values))}); correct "
                    "labels.classes, leave it out, or train on cases that have it"
                )

    def __len__(self) -> int:
        return len(self.index) * self.together

    @property
    def together(self) -> int:
        """How many samples of a case stay together in a batch: the slices that are drawn of it."""
        return self.sampling.slices or 1

    def __getitem__(self, items: list[Item]) -> list[Sample]:
        """Return the samples of a batch.

        Args:
            items: epoch and index of each. The indices i, i + n, i + 2n, ... of n samples are draws of one image, or
                case.

        Returns:
            The samples.
        """
        return [self._sample(epoch, index) for epoch, index in items]

    def _sample(self, epoch: int, index: int) -> Sample:
        unit, number = divmod(index, self.together)
        position, z = self.index[unit % len(self.index)]
        prepared, centred = self.cache.get(self.cases[position]), self.sampling.centred
        if self.sampling.slices is not None:
            held, lesion = self._slices[position]
            # One draw for all slices of a case, which each of them repeats: none comes twice.
            chance = np.random.default_rng(mix("slices", self.seed, epoch, unit))
            drawn, centred = draw_slices(lesion, count=self.together, centred=centred, chance=chance)[number]
            z = int(held[drawn])
        where = (...,) if z is None else (..., z)
        generator = torch.Generator().manual_seed(mix("sample", self.seed, epoch, index))
        spacing = prepared.geometry.spacing[: prepared.target[where].ndim]  # type: ignore[index]
        scans, mask = prepared.images[where], prepared.target[where]  # type: ignore[index]
        free = len(scans) - len(self.prior) - len(self.places)
        parameters = draw(self.augmentation, channels=free, size=mask.shape, generator=generator)
        pasted = self._pasted(position, z, parameters)
        options: dict[str, Any] = {
            "parameters": parameters,
            "spacing": spacing,
            "prior": self.prior,
            "places": self.places,
            "pasted": pasted,
        }
        if self.sampling.crop is None:
            return Sample(*apply(torch.from_numpy(np.array(scans)), torch.from_numpy(np.array(mask)), **options))
        if (position, z) not in self._lesions:
            self._lesions[position, z] = LesionVoxels.of(lesion_in(mask))
        chance = np.random.default_rng(mix("crop", self.seed, epoch, index))
        centre = draw_centre(self._lesions[position, z], centred=centred, by=self.sampling.by, chance=chance)
        if centre is not None:  # where augmentation moves it
            centre = new_place(centre, parameters, size=mask.shape, spacing=spacing)
        size = turned_size(mask.shape, parameters)
        crop = self.sampling.crop_size(size)
        corner = draw_corner(size, crop, centre, chance)
        return Sample(*apply_crop(scans, mask, corner=corner, crop=crop, **options))

    def _can_give(self, position: int) -> bool:
        """Return whether a case has lesions to paste into others, and anything else."""
        if not self.augmentation.pastes:
            return False
        prepared = self.cache.get(self.cases[position])
        lesion = lesion_in(np.asarray(prepared.target))
        return bool((lesion & prepared.inside).any()) and not lesion.all()

    def _pasted(self, position: int, z: int | None, parameters: Parameters) -> Pasted | None:
        """Return what a sample gets of another case, if that was drawn."""
        if parameters.paste is None:
            return None
        others = [other for other in self._lesioned if other != position]
        number = others[int(parameters.paste.donor * len(others))]
        own, other = (self.cache.get(self.cases[k]) for k in (position, number))
        for k, prepared in ((position, own), (number, other)):
            if k not in self._boxes:
                self._boxes[k] = bounding_box(prepared.inside) or ((0,) * prepared.inside.ndim, prepared.inside.shape)
        if number not in self._donors:
            self._donors[number] = Donor.of(
                other.images,
                other.target,  # type: ignore[arg-type]  # __init__ saw that it is there
                other.inside,
                box=self._boxes[number],
                spacing=other.geometry.spacing,
            )
        pasted = paste(
            parameters.paste,
            self._donors[number],
            other.images,
            other.target,  # type: ignore[arg-type]
            onto=own.images,
            inside=own.inside,
            box=self._boxes[position],
            prior=self.prior,
            places=self.places,
        )
        return pasted if z is None else pasted.in_slice(z)


class EpochBatches(Sampler[list[Item]]):
    """Batches of (epoch, index) in an order drawn from seed and epoch alone, shared out over the processes of a run.

    Samples of like size travel together, so that little of a batch is padding: the shuffled samples are sorted by size
    within groups of a few batches, and the batches shuffled again.

    Args:
        sizes: spatial size of every sample, or of those of every unit.
        batch_size: samples, or units, a batch.
        seed: of the run.
        weights: of the samples; None has each once. Otherwise as many are drawn as there are, and the k-th repetition
            of sample i (k = 0, 1, ...) has the index i + k * len(sizes).
        together: samples that make up a unit and stay together; unit u's are u * together, u * together + 1, ...
        rank: which of the processes this is.
        world: how many there are. Each gets as many batches as the others; the last ones are repeated where needed.
    """

    GROUP = 4  # batches sorted together: more means less padding and less chance

    def __init__(
        self,
        sizes: Sequence[tuple[int, ...]],
        *,
        batch_size: int,
        seed: int,
        weights: Sequence[float] | None = None,
        together: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.weights, self.together = weights, together
        self.sizes, self.batch_size, self.seed, self.rank, self.world = sizes, batch_size, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next (Lightning calls this).

        Args:
            epoch: from 0.
        """
        self.epoch = epoch

    def _flatness(self, index: int) -> tuple[int, ...]:
        # The number of slices varies most, so it is sorted by first.
        return self.sizes[index % len(self.sizes)][::-1]

    def __len__(self) -> int:
        batches = -(-len(self.sizes) // self.batch_size)
        return -(-batches // self.world)

    def __iter__(self) -> Iterator[list[Item]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.sizes)).tolist()
        if self.weights is not None:
            drawn = draw_weighted(self.weights, generator)
            order = [drawn[i] for i in order]
        span = self.GROUP * self.batch_size
        order = [i for s in range(0, len(order), span) for i in sorted(order[s : s + span], key=self._flatness)]
        batches = [order[s : s + self.batch_size] for s in range(0, len(order), self.batch_size)]
        shuffled = [batches[i] for i in generator.permutation(len(batches))]
        shared = islice(cycle(shuffled), self.rank, len(self) * self.world, self.world)
        members = range(self.together)
        yield from ([(self.epoch, i * self.together + k) for i in batch for k in members] for batch in shared)


def collate(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack samples, zero-padded at the far end to the size of the largest along each axis.

    Args:
        samples: of any sizes.

    Returns:
        Images `(B, C, *spatial)` and uint8 targets `(B, 1, *spatial)`.

    Example:
        >>> sizes = [(2, 5), (4, 3)]
        >>> images, target = collate([Sample(torch.ones(2, *n), torch.ones(n, dtype=torch.uint8)) for n in sizes])
        >>> images.shape, target.shape
        (torch.Size([2, 2, 4, 5]), torch.Size([2, 1, 4, 5]))
    """
    size = np.max([sample.target.shape for sample in samples], axis=0)

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        spatial = tensor.shape[-len(size) :]
        extra = [
            amount for length, own in zip(size[::-1], spatial[::-1], strict=True) for amount in (0, int(length - own))
        ]
        return functional.pad(tensor, extra) if any(extra) else tensor

    images = torch.stack([padded(sample.images) for sample in samples])
    target = torch.stack([padded(sample.target) for sample in samples])
    return images, target[:, None]


def as_target(codes: torch.Tensor, labels: Labels) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what a loss compares a network's logits with.

    Args:
        codes: uint8 `(B, 1, *spatial)`, the codes of `labels`.
        labels: which classes there are.

    Returns:
        Float targets: `(B, classes, *spatial)` of zeros and ones, or under softmax `(B, 1, *spatial)` of the numbers of
        classes. And what is ignored, bool `(B, 1, *spatial)`; None where nothing can be.

    Example:
        >>> nested = Labels(classes={"whole": (1, 2), "core": (2,)}, overlap=True, ignore=9)
        >>> target, ignored = as_target(torch.tensor([[[[0, 1, 2, 255]]]], dtype=torch.uint8), nested)
        >>> target.tolist(), ignored.tolist()
        ([[[[0.0, 1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0, 0.0]]]], [[[[False, False, False, True]]]])
    """
    ignored = None if labels.ignore is None else codes == IGNORED
    if labels.is_mask and ignored is None:
        return codes.float(), None
    members = torch.from_numpy(labels.members).to(codes.device)
    if labels.activation == "softmax":  # a code is of one class at most, whose number is its place after background
        numbers = (members * torch.arange(1, len(labels.names) + 1, device=codes.device)).sum(1).float()
        return numbers[codes.int()], ignored
    return torch.cat([column.float()[codes.int()] for column in members.T], dim=1), ignored


def mix(purpose: str, *numbers: int) -> int:
    """Return a 63-bit seed for one purpose from several numbers; no two purposes or lists of numbers share one.

    Args:
        purpose: what the seed is for.
        *numbers: what tells this draw from others of the purpose.

    Returns:
        The seed.

    Example:
        >>> mix("sample", 0, 1) == mix("sample", 0, 1), mix("sample", 0, 1) == mix("sample", 0, 1, 0)
        (True, False)
    """
    return int.from_bytes(hashlib.sha256(repr((purpose, *numbers)).encode()).digest()[:8]) >> 1
