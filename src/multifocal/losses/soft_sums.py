"""Sums where the target is a share: a voxel of y costs `y cost(1) + (1 - y) cost(0)`, what it would on average."""

from functools import cached_property

import torch

from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.probabilities import LOG_PROBABILITIES, Foreground
from multifocal.losses.voxel_costs import P, VoxelCost


class SoftSums(BatchSums):
    """The sums that criteria over images ask for; of costs other than p itself, of smoothed shares.

    `Σy`, `Σ (1 - y) cost(p, 0)` and `Σ y cost(p, 1)`, in plain operations over all voxels.
    """

    @cached_property
    def counts(self) -> torch.Tensor:
        """Σy of each image."""
        return self._shares.sum(1)

    def background(self, cost: VoxelCost) -> torch.Tensor:
        """Sum the share of 0, (images,)."""
        if cost == P:
            return self._p.sum(1) - self.by_image(P)  # p is 0 where a voxel is ignored
        return ((self._known_share - self._smoothed) * cost.background(*self._outside, None)).sum(1)

    def by_image(self, cost: VoxelCost) -> torch.Tensor:
        """Sum the share of 1, (images,)."""
        if cost == P:
            return (self._shares * self._p).sum(1)
        return (self._smoothed * cost.foreground(self._everywhere, None)).sum(1)

    @cached_property
    def _outside(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability and cost of 0."""
        return self.activation.outside(self.x)

    @cached_property
    def _p(self) -> torch.Tensor:
        return self._outside[0] if any(cost != P for cost in self.costs) else self.activation.probability(self.x)

    @property
    def _shares(self) -> torch.Tensor:
        if self.view.shares is None:
            raise TypeError("SoftSums are of a view that has shares")
        return self.view.shares

    @cached_property
    def _known_share(self) -> torch.Tensor | float:
        return 1.0 if self.view.ignored is None else (~self.view.ignored).to(self.x.dtype)

    @cached_property
    def _smoothed(self) -> torch.Tensor:
        """The shares of which `smoothing` is spread over the classes: those of softmax, else one and none."""
        smoothing = self.options.label_smoothing
        if not smoothing:
            return self._shares
        classes = self.channels if self.activation == LOG_PROBABILITIES else 2
        return self._known_share * ((1 - smoothing) * self._shares + smoothing / classes)

    @cached_property
    def _everywhere(self) -> Foreground:
        of_class_0 = None
        if self.activation == LOG_PROBABILITIES:
            of_class_0 = (torch.arange(self.images, device=self.x.device) % self.channels == 0)[:, None]
        return Foreground(self.x, self.activation, is_background=of_class_0)
