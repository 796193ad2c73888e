"""A batch as the criteria see it: sums by image, by lesion and by pair, each computed once."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import torch

from multifocal.distance import border_fields
from multifocal.instances import Instances, Pairs, given, label, pairs
from multifocal.losses.distances import check_distances
from multifocal.losses.door import View
from multifocal.losses.options import Options
from multifocal.losses.pieces import above
from multifocal.losses.quantities import HausdorffOf, Quantity
from multifocal.losses.sources import Foreground
from multifocal.losses.split import Plan, split
from multifocal.losses.voronoi import cells_given, cells_of


class Scene:
    """One batch, its quantities and its components.

    Args:
        view: its rows, as the door hands them on.
        options: spacing, connectivity, threshold, relaxed.
        quantities: all that will be asked for.
        predicted: whether predicted components will be.
    """

    def __init__(self, view: View, *, options: Options, quantities: Iterable[Quantity], predicted: bool) -> None:
        self.view, self.options = view, options
        self.x, self.source, self.shape = view.x, view.source, view.shape
        self.batch, self.channels, self.ones = view.batch, view.channels, view.ones
        self.images, self.size = self.x.shape
        self.quantities = tuple(dict.fromkeys(quantities))
        self._predicted = predicted
        self._tensors: dict[str, torch.Tensor] = {}
        self._values: dict[Quantity, torch.Tensor] = {}
        self._sums: dict[tuple[str, Quantity], torch.Tensor] = {}
        self._fields: dict[Quantity, torch.Tensor] = {}
        self._inside: Any = None  # x at `voxels`, once something was summed

    # What there is: components of both sides.

    @cached_property
    def true_mask(self) -> np.ndarray:
        """The target as a boolean array (images, *spatial)."""
        mask = np.zeros(self.images * self.size, bool)
        mask[self.ones] = True
        return mask.reshape(self.images, *self.shape)

    @cached_property
    def true(self) -> Instances:
        """The lesions."""
        if self.view.instances is None:
            return label(self.true_mask, connectivity=self.options.connectivity)
        found = given(self.view.instances.reshape(self.images, *self.shape))
        if not np.array_equal(found.voxels, self.ones):
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
        mask = above(self.x, self.source, threshold, closed=closed)
        return mask.cpu().numpy().reshape(self.images, *self.shape)

    # What is measured: the foreground's voxels first, then those of predicted components in the background.

    @cached_property
    def _extra(self) -> np.ndarray:
        """Where in `pairs.voxels` the background's voxels are."""
        return np.flatnonzero(self.pairs.target[self.pairs.pair] == 0)

    @cached_property
    def voxels(self) -> np.ndarray:
        """The voxels that `values` are of."""
        return np.concatenate([self.ones, self.pairs.voxels[self._extra]]) if self._predicted else self.ones

    @cached_property
    def _background(self) -> torch.Tensor:
        """Sums over the target's background, (quantities, images)."""
        return self._split(self.quantities, None, self.images)

    @property
    def _taken(self) -> torch.Tensor:
        """Return x at `voxels`."""
        if self._inside is None:
            _ = self._background
        return self._inside

    @cached_property
    def _foreground(self) -> Foreground:
        return Foreground(self._taken[: len(self.ones)] if self._predicted else self._taken, self.source)

    def background(self, quantity: Quantity) -> torch.Tensor:
        """Sum over the target's background, (images,)."""
        return self._background[self.quantities.index(quantity)]

    def values(self, quantity: Quantity) -> torch.Tensor:
        """Return the quantity at the foreground's voxels, then at those of predicted components outside, in 64 bits."""
        if quantity not in self._values:
            count = len(self.ones)
            field = self.field(quantity)
            near = None if field is None else field.view(-1)[self.tensor("voxels")]
            values = quantity.foreground(self._foreground, None if near is None else near[:count])
            if self._predicted:
                p, c = self.source.outside(self._taken[count:])
                rest = quantity.background(p, c, None if near is None else near[count:])
                values = torch.cat([values, rest])
            self._values[quantity] = values.double()
        return self._values[quantity]

    def by_image(self, quantity: Quantity) -> torch.Tensor:
        """Sum over the foreground, (images,)."""
        return self._once("image", quantity, "_image_of_one", self.images)

    def by_lesion(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each lesion, (N,)."""
        return self._once("lesion", quantity, "_lesion_of_one", self.true.total)

    def by_pair(self, quantity: Quantity) -> torch.Tensor:
        """Sum over each pair's voxels, (pairs,)."""
        return self._once("pair", quantity, "pair_of_voxel", len(self.pairs.target))

    def _once(self, by: str, quantity: Quantity, groups: str, count: int) -> torch.Tensor:
        if (by, quantity) not in self._sums:
            owner = self.tensor(groups)
            self._sums[by, quantity] = self.summed(self.values(quantity)[: len(owner)], owner, count)
        return self._sums[by, quantity]

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
        return self.ones // self.size

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
            return cells_given(numbers, self.tensor("ones"))
        return cells_of(self.true if side == "target" else self.predicted, self.options, self.x.device)

    def split_by(self, groups: torch.Tensor, count: int, quantities: tuple[Quantity, ...]) -> torch.Tensor:
        """Sum quantities over the background of each group of voxels, (quantities, groups)."""
        return self._split(quantities, groups, count)

    def sizes_of(self, groups: torch.Tensor, count: int) -> torch.Tensor:
        """Return how many voxels each group has."""
        if groups.device.type != "cpu":
            return torch.bincount(groups.view(-1), minlength=count).to(self.x.dtype)
        from multifocal.kernels.sums import sizes_by

        sizes = np.zeros(count, np.int64)
        sizes_by(groups.view(-1).numpy(), sizes)
        return self.number(sizes)

    def _split(self, quantities: tuple[Quantity, ...], groups: torch.Tensor | None, count: int) -> torch.Tensor:
        fields = tuple(self.field(quantity) for quantity in quantities)
        ones = self.tensor("ones")
        taken = ones[:0] if self._inside is not None else self.tensor("voxels")
        sums, inside = split(self.x, Plan(self.source, quantities, fields, ones, taken, groups, count, self.x.shape))
        if self._inside is None:
            self._inside = inside
        return sums

    def field(self, quantity: Quantity) -> torch.Tensor | None:
        """Return the distances that a quantity needs, (images, voxels)."""
        if not isinstance(quantity, HausdorffOf):
            return None
        if quantity not in self._fields:
            with torch.no_grad():
                self._fields[quantity] = self._distances(quantity)
        return self._fields[quantity]

    @property
    def _bordered(self) -> np.ndarray:
        """Which images' targets have a border."""
        counts = np.bincount(self._image_of_one, minlength=self.images)
        return (counts > 0) & (counts < self.size)

    def _distances(self, quantity: HausdorffOf) -> torch.Tensor:
        masks = above(self.x, self.source, self.options.threshold, closed=False).view(self.images, *self.shape)
        total = border_fields(masks, spacing=self.options.spacing, power=quantity.alpha).to(self.x.dtype)
        if self.view.distances is None:
            masks = torch.from_numpy(self.true_mask).to(self.x.device)
            total += border_fields(masks, spacing=self.options.spacing, power=quantity.alpha)
        else:
            distances = self.view.distances.detach().reshape(self.images, self.size)
            check_distances(distances, self._bordered, self.options.spacing)
            total += distances.to(total).view(total.shape) ** quantity.alpha
        if quantity.empty == "diagonal":
            steps = self.options.spacing or (1.0,) * len(self.shape)
            diagonal = sum((n * s) ** 2 for n, s in zip(self.shape, steps, strict=True)) ** (quantity.alpha / 2)
            for image in np.flatnonzero(~self._bordered):
                total[image] += diagonal
        return total.view(self.images, self.size)
