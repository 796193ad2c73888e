"""Focal of a sigmoid of probabilities: a loss that expects logits under a network that ends in a sigmoid."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from multifocal.config import Checked, NonNegative
from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.inputs import CLASS_WEIGHTS, IGNORE
from multifocal.losses.loss import TERMS, Needs, Term


@TERMS.register("double-sigmoid-focal")
@dataclass(frozen=True)
class DoubleSigmoidFocal(Checked, Term):
    """Mean of `-|s-y|^γ log(1 - |s-y|)`, `s = σ(p)` of the probability p: a defect, to repeat results that had it.

    s lies between 0.5 and 0.731, so background that is all right still costs `0.5^γ log 2` a voxel, a lesion that is
    all found 0.269^γ · 0.313, and the term hardly says which is which.

    Args:
        gamma: γ.

    Source:
        The training code of Rao et al., MICCAI 2025 (SPARSeg): a network that ends in a sigmoid, under MONAI's
        `FocalLoss`, which applies one itself. Their Dice, Tversky and Hausdorff terms take the probability as it is.

    Example:
        >>> target = torch.zeros(1, 1, 4, 4)
        >>> round(float(DoubleSigmoidFocal(gamma=2.0)(torch.full((1, 1, 4, 4), -30.0), target)), 4)
        0.1733
    """

    name = "double-sigmoid-focal"
    follows = IGNORE | CLASS_WEIGHTS
    gamma: NonNegative = 2.0

    @property
    def needs(self) -> Needs:
        """What it asks of `BatchSums`."""
        return Needs()

    def measure(self, batch_sums: BatchSums) -> torch.Tensor:
        """Return the mean over images.

        Args:
            batch_sums: the batch, with what `needs` asks for.

        Returns:
            A scalar.
        """
        p = batch_sums.activation.probability(batch_sums.x)
        true = torch.from_numpy(batch_sums.true_mask).to(p.device).view_as(p)
        wrong = torch.where(true, -p, p)  # the logit of being wrong
        cost = torch.sigmoid(wrong).pow(self.gamma) * functional.softplus(wrong)
        if batch_sums.view.ignored is not None:
            cost = cost.masked_fill(batch_sums.view.ignored.view_as(cost), 0)
        means = cost.sum(1, keepdim=True) / batch_sums.voxels_of()
        weights = batch_sums.class_weights_of(np.arange(len(means)))
        return (means[:, 0] * weights).sum() / weights.sum()
