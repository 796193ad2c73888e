"""A batch as the criteria see it: sums by image, by lesion and by pair, each computed once."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch

from multifocal.instances import Instances, Pairs, given, label, pairs
from multifocal.losses.background_sums import SumPlan, above, split_sums
from multifocal.losses.ignored import Frames, frames_of, known_border_fields
from multifocal.losses.inputs import ChannelView, Options
from multifocal.losses.precomputed import cells_given, cells_of, check_distances
from multifocal.losses.probabilities import LOG_PROBABILITIES, Foreground
from multifocal.losses.voxel_costs import HausdorffCost, VoxelCost


class BatchSums:
    """One batch, its costs and its components.

    Args:
        view: its rows, as the loss_input hands them on.
        options: spacing, connectivity, threshold, relaxed.
        costs: all that will be asked for.
        predicted: whether predicted components will be.
    """

    def __init__(self, view: ChannelView, *, options: Options, costs: Iterable[VoxelCost], predicted: bool) -> None:
        self.view, self.options = view, options
        self.x, self.activation, self.shape = view.x, view.activation, view.shape
        self.batch, self.channels, self.foreground_index = view.batch, view.channels, view.foreground_index
        self.images, self.size = self.x.shape
        self.costs = tuple(dict.fromkeys(costs))
        self._predicted = predicted
        self._tensors: dict[str, torch.Tensor] = {}
        self._values: dict[VoxelCost, torch.Tensor] = {}
        self._sums: dict[tuple[str, VoxelCost], torch.Tensor] = {}
        self._fields: dict[VoxelCost, torch.Tensor] = {}
        self._inside: Any = None  # x at `voxels`, once something was summed

    # How much of an image there is: all of it, or what is not ignored.

    @cached_property
    def known(self) -> np.ndarray:
        """For each image how many of its voxels are not ignored, (images,)."""
        if self.view.ignored is None:
            return np.full(self.images, self.size)
        ignored = self.view.ignored.cpu().numpy()
        return np.array([self.size - np.count_nonzero(image) for image in ignored])  # by far faster than along an axis

    @cached_property
    def is_known(self) -> np.ndarray:
        """Which voxels are not ignored, (images * voxels,)."""
        if self.view.ignored is None:
            return np.ones(self.images * self.size, bool)
        return ~self.view.ignored.view(-1).cpu().numpy()

    @cached_property
    def frames(self) -> Frames:
        """The box of each image that holds its known voxels: lower and upper corners, (images, axes) each."""
        if self.view.ignored is None:
            upper = np.tile(np.array(self.shape), (self.images, 1))
            return np.zeros_like(upper), upper
        return frames_of(self.is_known.reshape(self.images, *self.shape))

    def voxels_of(self, images: torch.Tensor | None = None) -> torch.Tensor | float:
        """Return the voxels that means over images, or over an image a region, are over.

        One number if nothing is ignored, else (rows, 1), at least 1.
        """
        if self.view.ignored is None:
            return float(self.size)
        counts = self.number(self.known).clamp_min(1)
        return (counts if images is None else counts[images])[:, None]

    # How much an image counts: as much as its class.

    def class_weights_of(self, images: np.ndarray) -> torch.Tensor:
        """Return the class weight of each of some images, scaled to a mean of 1 over classes."""
        if self.view.class_weights is None:
            return self.number(np.ones(len(images)))
        weights = np.array(self.view.class_weights)
        return self.number((weights / weights.mean())[images % self.channels])

    def weighed(self, shares: np.ndarray, images: np.ndarray) -> torch.Tensor:
        """Return weights of a mean over regions that add up to 1, weighed by the classes of the regions' images.

        Where only classes of no weight have a region, they are 0.
        """
        if self.view.class_weights is not None:
            shares = shares * np.array(self.view.class_weights)[images % self.channels]
            total = shares.sum()
            shares = shares / total if total else shares
        return self.number(shares)

    # What there is: components of both sides.

    @cached_property
    def true_mask(self) -> np.ndarray:
        """The target as a boolean array (images, *spatial)."""
        mask = np.zeros(self.images * self.size, bool)
        mask[self.foreground_index] = True
        return mask.reshape(self.images, *self.shape)

    @cached_property
    def true(self) -> Instances:
        """The lesions."""
        if self.view.instances is None:
            return label(self.true_mask, connectivity=self.options.connectivity)
        found = given(self.view.instances.reshape(self.images, *self.shape))
        if not np.array_equal(found.voxels, self.foreground_index):
            raise ValueError("instances is not 0 exactly where target is; expected labels of the target's lesions")
        return found

    @cached_property
    def predicted(self) -> Instances:
        """The components of p >= threshold."""
        return label(self._above(self.options.threshold, closed=True), connectivity=self.options.connectivity)

    @cached_property
    def pairs(self) -> Pairs:
        """Which components touch."""
        return pairs(self.predicted, self.true)

    def _above(self, threshold: float, *, closed: bool) -> np.ndarray:
        """Return where the probability is above the threshold, (images, *spatial)."""
        mask = above(self.x, self.activation, threshold, closed=closed)
        return mask.cpu().numpy().reshape(self.images, *self.shape)

    # What is measured: the foreground's voxels first, then those of predicted components in the background.

    @cached_property
    def _extra(self) -> np.ndarray:
        """Where in `pairs.voxels` the background's voxels are."""
        return np.flatnonzero(self.pairs.target[self.pairs.pair] == 0)

    @cached_property
    def voxels(self) -> np.ndarray:
        """The voxels that `values` are of."""
        return (
            np.concatenate([self.foreground_index, self.pairs.voxels[self._extra]])
            if self._predicted
            else self.foreground_index
        )

    @cached_property
    def _background(self) -> torch.Tensor:
        """Sums over the target's background, (costs, images)."""
        return self._split(self.costs, None, self.images)

    @property
    def _taken(self) -> torch.Tensor:
        """Return x at `voxels`."""
        if self._inside is None:
            _ = self._background
        return self._inside

    @cached_property
    def _foreground(self) -> Foreground:
        x = self._taken[: len(self.foreground_index)] if self._predicted else self._taken
        is_class_0 = None
        if self.activation == LOG_PROBABILITIES:
            is_class_0 = self.tensor("_image_of_one") % self.channels == 0
        return Foreground(x, self.activation, is_background=is_class_0)

    def background(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over the target's background, (images,)."""
        return self._background[self.costs.index(cost)]

    def values(self, cost: VoxelCost) -> torch.Tensor:
        """Return the cost at the foreground's voxels, then at those of predicted components outside, in 64 bits."""
        if cost not in self._values:
            count = len(self.foreground_index)
            field = self.field(cost)
            near = None if field is None else field.view(-1)[self.tensor("voxels")]
            values = cost.foreground(self._foreground, None if near is None else near[:count])
            if self._predicted:
                p, c = self.activation.outside(self._taken[count:])
                rest = cost.background(p, c, None if near is None else near[count:])
                values = torch.cat([values, rest])
            self._values[cost] = values.double()
        return self._values[cost]

    def by_image(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over the foreground, (images,)."""
        return self._once("image", cost, "_image_of_one", self.images)

    def by_lesion(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over each lesion, (N,)."""
        return self._once("lesion", cost, "_lesion_of_one", self.true.total)

    def by_pair(self, cost: VoxelCost) -> torch.Tensor:
        """Sum over each pair's voxels, (pairs,)."""
        return self._once("pair", cost, "pair_of_voxel", len(self.pairs.target))

    def _once(self, by: str, cost: VoxelCost, groups: str, count: int) -> torch.Tensor:
        if (by, cost) not in self._sums:
            owner = self.tensor(groups)
            self._sums[by, cost] = self.summed(self.values(cost)[: len(owner)], owner, count)
        return self._sums[by, cost]

    def summed(self, values: torch.Tensor, groups: torch.Tensor, count: int) -> torch.Tensor:
        """Sum values by group."""
        total = torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, groups, values)
        return total.to(self.x.dtype)

    @cached_property
    def counts(self) -> torch.Tensor:
        """Foreground voxels of each image."""
        return self.number(np.bincount(self._image_of_one, minlength=self.images))

    @cached_property
    def _image_of_one(self) -> np.ndarray:
        return self.foreground_index // self.size

    @cached_property
    def _lesion_of_one(self) -> np.ndarray:
        return self.true.labels.astype(np.int64) - 1

    @cached_property
    def pair_of_voxel(self) -> np.ndarray:
        """For each of `voxels` its pair."""
        inside = np.flatnonzero(self.pairs.target[self.pairs.pair] > 0)
        return self.pairs.pair[np.concatenate([inside, self._extra])]

    def tensor(self, name: str) -> torch.Tensor:
        """Return an index array of this object as a tensor on the device."""
        if name not in self._tensors:
            self._tensors[name] = self.index(getattr(self, name))
        return self._tensors[name]

    def index(self, array: np.ndarray) -> torch.Tensor:
        """Return an index array as a tensor on the device."""
        return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(self.x.device)

    def number(self, array: np.ndarray) -> torch.Tensor:
        """Return numbers as a tensor of the output's type on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.x.device, self.x.dtype)

    # Voronoi cells and distances.

    def cells(self, side: str) -> tuple[torch.Tensor, np.ndarray]:
        """Return the cells of one side's components, (images, voxels), and their number in each image."""
        if side == "target" and self.view.cells is not None:
            numbers = self.view.cells.detach().to(self.x.device).reshape(self.images, self.size)
            return cells_given(numbers, self.tensor("foreground_index"))
        components = self.true if side == "target" else self.predicted
        return cells_of(components, self.options, self.x.device, frames=self.frames)

    def split_by(self, groups: torch.Tensor, count: int, costs: tuple[VoxelCost, ...]) -> torch.Tensor:
        """Sum costs over the background of each group of voxels, (costs, groups)."""
        return self._split(costs, groups, count)

    def sizes_of(self, groups: torch.Tensor, count: int) -> torch.Tensor:
        """Return how many voxels each group has."""
        if self.view.ignored is not None:
            known = groups.view(-1)[~self.view.ignored.view(-1)]
            return torch.bincount(known, minlength=count).to(self.x.dtype)
        if groups.device.type != "cpu":
            return torch.bincount(groups.view(-1), minlength=count).to(self.x.dtype)
        from multifocal.kernels.sums import sizes_by

        sizes = np.zeros(count, np.int64)
        sizes_by(groups.view(-1).numpy(), sizes)
        return self.number(sizes)

    def _split(self, costs: tuple[VoxelCost, ...], groups: torch.Tensor | None, count: int) -> torch.Tensor:
        fields = tuple(self.field(cost) for cost in costs)
        foreground_index = self.tensor("foreground_index")
        taken = foreground_index[:0] if self._inside is not None else self.tensor("voxels")
        sums, inside = split_sums(
            self.x, SumPlan(self.activation, costs, fields, foreground_index, taken, groups, count, self.x.shape)
        )
        if self._inside is None:
            self._inside = inside
        return sums

    def field(self, cost: VoxelCost) -> torch.Tensor | None:
        """Return the distances that a cost needs, (images, voxels)."""
        if not isinstance(cost, HausdorffCost):
            return None
        if cost not in self._fields:
            with torch.no_grad():
                self._fields[cost] = self._distances(cost)
        return self._fields[cost]

    @property
    def _bordered(self) -> np.ndarray:
        """Which images' targets have a border."""
        counts = np.bincount(self._image_of_one, minlength=self.images)
        return (counts > 0) & (counts < self.known)

    def _border_fields(self, masks: torch.Tensor, cost: HausdorffCost) -> torch.Tensor:
        ignored = None if self.view.ignored is None else self.view.ignored.view(masks.shape)
        return known_border_fields(masks, ignored, spacing=self.options.spacing, power=cost.alpha)

    def _distances(self, cost: HausdorffCost) -> torch.Tensor:
        masks = above(self.x, self.activation, self.options.threshold, closed=False).view(self.images, *self.shape)
        total = self._border_fields(masks, cost).to(self.x.dtype)
        if self.view.distances is None:
            total += self._border_fields(torch.from_numpy(self.true_mask).to(self.x.device), cost)
        else:
            distances = self.view.distances.detach().reshape(self.images, self.size)
            if self.view.ignored is not None:
                distances = distances.to(self.x.device).masked_fill(self.view.ignored, 0)
            check_distances(distances, self._bordered, self.options.spacing, ignored=self.view.ignored)
            total += distances.to(total).view(total.shape) ** cost.alpha
        if cost.empty == "diagonal":
            steps = self.options.spacing or (1.0,) * len(self.shape)
            for image in np.flatnonzero(~self._bordered):
                sides = (self.frames[1] - self.frames[0])[image].tolist()
                total[image] += sum((n * s) ** 2 for n, s in zip(sides, steps, strict=True)) ** (cost.alpha / 2)
        return total.view(self.images, self.size)
