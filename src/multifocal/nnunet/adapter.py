"""Losses as nnU-Net calls them: outputs and targets at one resolution or several."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from multifocal import losses
from multifocal.errors import UserError
from multifocal.nnunet.labels import read


class NnUNetLoss(nn.Module):
    """`L = Σ_i w_i L_i`: one loss for each resolution, full resolution first.

    Args:
        levels: the losses; they take logits of one channel for each class or region.
        weights: as many; where a weight is 0 nothing is computed.
        regions: targets are (B, R, *spatial) zeros and ones, a channel each region, and outputs go through a sigmoid.
            Otherwise targets are label maps (B, 1, *spatial), and outputs go through a softmax whose channel 0 is
            background.
        ignore_label: the label of voxels that have none (of regions: the target has one channel more). They are in no
            sum, component, distance and cell of any resolution, and no gradient passes.

    Example:
        >>> loss = build_loss("blob-gdf", weights=(2 / 3, 1 / 3))
        >>> labels = torch.zeros(1, 1, 8, 8)
        >>> labels[..., 2:5, 2:5] = 1
        >>> outputs = [torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]
        >>> round(float(loss(outputs, [labels, labels[..., ::2, ::2]])), 2)
        2.75
    """

    def __init__(
        self,
        levels: Sequence[losses.CompoundLoss],
        *,
        weights: Sequence[float],
        regions: bool = False,
        ignore_label: int | None = None,
    ) -> None:
        super().__init__()
        if not levels or len(levels) != len(weights):
            raise ValueError(f"weights={tuple(weights)}; expected one for each of {len(levels)} losses")
        self.levels, self.weights = tuple(levels), tuple(weights)
        self.regions, self.ignore_label = regions, ignore_label
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0

    def set_progress(self, progress: float) -> None:
        """Say how far training has come, 0 to 1: what schedules of weights go by.

        Args:
            progress: 0 in the first epoch, 1 in the last.
        """
        for level in self.levels:
            level.progress = progress

    def forward(
        self, outputs: torch.Tensor | Sequence[torch.Tensor], targets: torch.Tensor | Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return the loss, a scalar.

        Args:
            outputs: of the network, float (B, C, *spatial), one for each resolution; a tensor alone is one resolution.
            targets: as many, (B, 1, *spatial) label maps or (B, R, *spatial) regions.

        Returns:
            The loss, 0-dimensional.

        Raises:
            ValueError: outputs and targets that do not fit.
        """
        outputs, targets = ([x] if isinstance(x, torch.Tensor) else list(x) for x in (outputs, targets))
        if not len(outputs) == len(targets) == len(self.weights):
            found = f"{len(outputs)} outputs and {len(targets)} targets"
            raise ValueError(f"{found}; expected {len(self.weights)} of each, one for each weight")
        values = []
        for number, (level, weight) in enumerate(zip(self.levels, self.weights, strict=True)):
            if weight:
                logits, hot, ignored = read(
                    outputs[number], targets[number], regions=self.regions, ignore_label=self.ignore_label
                )
                terms = level.terms(logits, hot, ignore=ignored)
                values.append(weight * level.combine(terms))
                if number == 0 and torch.is_grad_enabled():
                    self._note(terms)
        return torch.stack(values).sum()

    def take_terms(self) -> dict[str, float]:
        """Return the mean of each unweighted term at full resolution since the last call.

        Returns:
            Means by the term's name; {} where there was no step since.
        """
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        return means

    def _note(self, terms: dict[str, torch.Tensor]) -> None:
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        self._steps += 1


def build_loss(
    name: str,
    *,
    weights: Sequence[float] = (1.0,),
    factors: Sequence[Sequence[float]] | None = None,
    regions: bool = False,
    ignore_label: int | None = None,
    **options: Any,
) -> NnUNetLoss:
    """Return a named loss for nnU-Net's outputs and targets.

    Args:
        name: see `multifocal.losses.build`.
        weights: of each resolution's output.
        factors: how many times coarser than the first each output is, along each axis; only `spacing` needs it.
        regions: whether the targets are regions.
        ignore_label: see `NnUNetLoss`.
        **options: of the loss; `spacing` (mm) is that of full resolution, and `class_weights` are of the classes
            without the background, or of the regions.

    Returns:
        The loss.

    Raises:
        UserError: the name or an option is unknown, or says how to read the outputs.
        ValueError: `spacing` for several outputs without their `factors`.

    Example:
        >>> build_loss("blob-gdf", weights=(0.75, 0.25)).weights
        (0.75, 0.25)
    """
    for given in sorted({"activation", "include_background", "ignore", "soft_labels"} & set(options)):
        raise UserError(f"{given}={options[given]!r}: nnU-Net's labels say how outputs are read; leave it out")
    if options.get("reduction", "mean") != "mean":
        raise UserError(f"reduction={options['reduction']!r}: training needs one number of a batch; leave it out")
    spacing = options.pop("spacing", None)
    if spacing is None or len(weights) == 1:
        spacings: list[Any] = [spacing] * len(weights)
    elif factors is None or len(factors) != len(weights):
        raise ValueError(f"factors={factors}; expected one for each of {len(weights)} outputs, which spacing needs")
    else:
        spacings = [tuple(s * f for s, f in zip(spacing, factor, strict=True)) for factor in factors]
    levels = [losses.build(name, **options, **({} if s is None else {"spacing": tuple(s)})) for s in spacings]
    return NnUNetLoss(levels, weights=weights, regions=regions, ignore_label=ignore_label)
