"""Training samples: prepared cases, or their slices, augmented by a draw from seed, epoch and index alone."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from multifocal.cohorts import Case
from multifocal.errors import UserError
from multifocal.pipeline.augment import Augmentation, augment
from multifocal.pipeline.cache import Cache

Item = tuple[int, int]  # (epoch, index)


@dataclass(frozen=True)
class Sample:
    """One augmented training sample.

    Attributes:
        images: float32 `(C, *spatial)`.
        target: uint8 0/1 `(*spatial)`.
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

    Raises:
        UserError: a case has no label, or fewer dimensions than the network.
    """

    def __init__(
        self, cases: Sequence[Case], cache: Cache, *, augmentation: Augmentation, dimensions: int, seed: int
    ) -> None:
        self.cases, self.cache, self.augmentation, self.seed = list(cases), cache, augmentation, seed
        self.prior = [i for i, channel in enumerate(cache.settings.channels) if channel.is_prior]
        self.index: list[tuple[int, int | None]] = []
        self.sizes: list[tuple[int, ...]] = []
        for position, case in enumerate(self.cases):
            prepared = cache.get(case)
            if prepared.target is None:
                raise UserError(f"case {case.name}: has no label to train on; leave it out of the training fold")
            size = prepared.target.shape
            if len(size) < dimensions:
                raise UserError(f"case {case.name}: is {len(size)}D, but the network is {dimensions}D")
            slices: list[int | None] = [None]
            if len(size) > dimensions:
                slices = [int(z) for z in np.flatnonzero(prepared.inside.any(axis=(0, 1)))]
            self.index += [(position, z) for z in slices]
            self.sizes += [size[:dimensions]] * len(slices)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, items: list[Item]) -> list[Sample]:
        """Return the samples of a batch.

        Args:
            items: epoch and index of each.

        Returns:
            The samples.
        """
        return [self._sample(epoch, index) for epoch, index in items]

    def _sample(self, epoch: int, index: int) -> Sample:
        position, z = self.index[index]
        prepared = self.cache.get(self.cases[position])
        where = (...,) if z is None else (..., z)
        images = torch.from_numpy(np.array(prepared.images[where]))
        target = torch.from_numpy(np.array(prepared.target[where]))  # type: ignore[index]
        generator = torch.Generator().manual_seed(mix("sample", self.seed, epoch, index))
        spacing = prepared.geometry.spacing[: target.ndim]
        return Sample(
            *augment(images, target, settings=self.augmentation, generator=generator, spacing=spacing, prior=self.prior)
        )


class EpochBatches(Sampler[list[Item]]):
    """Batches of (epoch, index) in an order drawn from seed and epoch alone, shared out over the processes of a run.

    Samples of like size travel together, so that little of a batch is padding: the shuffled samples are sorted by size
    within groups of a few batches, and the batches shuffled again.

    Args:
        sizes: spatial size of every sample.
        batch_size: samples a batch.
        seed: of the run.
        rank: which of the processes this is.
        world: how many there are. Each gets as many batches as the others; the last ones are repeated where needed.
    """

    GROUP = 4  # batches sorted together: more means less padding and less chance

    def __init__(
        self, sizes: Sequence[tuple[int, ...]], *, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
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
        return self.sizes[index][::-1]

    def __len__(self) -> int:
        batches = -(-len(self.sizes) // self.batch_size)
        return -(-batches // self.world)

    def __iter__(self) -> Iterator[list[Item]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(len(self.sizes)).tolist()
        span = self.GROUP * self.batch_size
        order = [i for s in range(0, len(order), span) for i in sorted(order[s : s + span], key=self._flatness)]
        batches = [order[s : s + self.batch_size] for s in range(0, len(order), self.batch_size)]
        shuffled = [batches[i] for i in generator.permutation(len(batches))]
        shared = islice(cycle(shuffled), self.rank, len(self) * self.world, self.world)
        yield from ([(self.epoch, i) for i in batch] for batch in shared)


def collate(samples: Sequence[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack samples, zero-padded at the far end to the size of the largest along each axis.

    Args:
        samples: of any sizes.

    Returns:
        Images `(B, C, *spatial)` and float targets `(B, 1, *spatial)`.

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
    return images, target[:, None].float()


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
