"""Metrics that grow batch by batch, for torchmetrics (which comes with the extra `train`) and Lightning."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from multifocal.errors import unknown_name
from multifocal.metrics.case import score_case
from multifocal.metrics.metric import METRICS, Undefined, check_undefined
from multifocal.metrics.scoring_options import ScoringOptions
from multifocal.metrics.validation import without_ignored
from multifocal.volumes import bounding_box


class CaseMetrics(Metric):
    """Means over cases of several metrics of `multifocal.metrics.evaluate_case`, by name.

    Values are those of `multifocal.evaluation.summarize`; metrics best at zero enter with their absolute value.
    The states are sums, so processes (DDP) and batches may share out the cases in any way; a sampler that pads the last
    batches with repeated cases counts these twice.

    Args:
        names: of `METRICS`.
        undefined: what stands for an undefined distance, "skip" or "diagonal"; see `multifocal.evaluation.summarize`.
        rules: how a case is scored, such as `ScoringOptions(tolerance=1.0)`.
        **kwargs: those of `torchmetrics.Metric`.

    Raises:
        UserError: an unknown name or rule.

    Example:
        >>> metrics = CaseMetrics(["dice", "sen"])
        >>> target = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
        >>> target[0, 0, 2:4, 2:4] = target[1, 0, 5:7, 2:6] = True
        >>> metrics.update(target.roll(1, dims=2), target, spacing=(1.0, 1.0))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items()}
        {'dice': 0.5, 'sen': 1.0}
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        names: Sequence[str] = ("dice", "masd", "nsd"),
        *,
        undefined: Undefined = "skip",
        rules: ScoringOptions | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if unknown := [name for name in names if name not in METRICS]:
            raise unknown_name("metric", unknown[0], METRICS)
        check_undefined(undefined)
        self.names, self.rule, self.rules = tuple(names), undefined, rules or ScoringOptions()
        # Metrics of a torchmetrics collection share their states when those have the same names and, after the first
        # batch, the same values; so only metrics that always agree may have the same names.
        self._key = hashlib.sha256(repr((self.names, undefined, self.rules)).encode()).hexdigest()[:16]
        for state, dtype in (("total", torch.float64), ("defined", torch.long), ("undefined", torch.long)):
            self.add_state(f"{state}_{self._key}", torch.zeros(len(self.names), dtype=dtype), dist_reduce_fx="sum")

    @property
    def total(self) -> Tensor:
        """Sum of each metric over its defined cases."""
        return self._state("total")

    @property
    def defined(self) -> Tensor:
        """How many cases have a value of each metric."""
        return self._state("defined")

    @property
    def undefined(self) -> Tensor:
        """In how many cases each metric is undefined."""
        return self._state("undefined")

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        spacing: Sequence[float] | Tensor,
        ignore: Tensor | int | None = None,
    ) -> None:
        """Add the cases of a batch.

        Args:
            preds: predicted masks of zeros and ones, (B, 1, X, Y, Z) or (B, 1, X, Y), of any type and device.
            target: true masks of the same shape.
            spacing: mm per voxel along each spatial axis, of all cases or, as (B, axes), of each.
            ignore: the target's value of voxels that count nowhere, such as 255, or a mask of them, (B, 1, *spatial)
                or (B, *spatial); None for none. See `multifocal.metrics.MaskPair.of`.

        Raises:
            ValueError: other shapes, or what `evaluate_case` does not accept.
        """
        if preds.ndim not in (4, 5) or preds.shape[1] != 1 or preds.shape != target.shape:
            shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
            raise ValueError(f"preds and target have shapes {shapes}; expected two of (B, 1, X, Y) or (B, 1, X, Y, Z)")
        batch, axes = len(preds), preds.ndim - 2
        sides = np.asarray(spacing.detach().cpu() if isinstance(spacing, Tensor) else spacing, float)
        if sides.shape not in ((axes,), (batch, axes)):
            raise ValueError(f"spacing has shape {sides.shape}; expected ({axes},) or ({batch}, {axes})")
        cases = zip(_array(preds), _array(target), np.broadcast_to(sides, (batch, axes)), strict=True)
        masks = _masks(ignore, target)
        for (prediction, true, lengths), ignored in zip(cases, masks, strict=True):
            *pair, hidden = without_ignored(prediction, true, ignored)
            scores = score_case(*pair, spacing=tuple(lengths), options=self.rules, ignore=hidden).metrics
            shape = np.array(true.shape)
            if hidden is not None:
                lower, upper = bounding_box(~hidden) or (0 * shape, 0 * shape)
                shape = np.subtract(upper, lower)
            self._add(scores, diagonal=float(np.linalg.norm(lengths * shape)))

    def compute(self) -> Any:
        """Return the mean of each metric over its defined cases.

        Returns:
            Scalars by name; NaN where no case is defined.
        """
        means = self.total / self.defined
        return dict(zip(self.names, means.float(), strict=True))

    def _add(self, scores: dict[str, float], *, diagonal: float) -> None:
        metrics = [METRICS[name] for name in self.names]
        values = np.array([abs(scores[m.name]) if m.best == "zero" else scores[m.name] for m in metrics])
        gaps = np.isnan(values)
        if self.rule == "diagonal":
            values[gaps & [metric.is_distance for metric in metrics]] = diagonal
        there = ~np.isnan(values)
        for state, more in (("total", np.where(there, values, 0.0)), ("defined", there), ("undefined", gaps)):
            held = self._state(state)
            setattr(self, f"{state}_{self._key}", held + torch.from_numpy(more).to(held))

    def _state(self, name: str) -> Tensor:
        return getattr(self, f"{name}_{self._key}")


class CaseMetric(CaseMetrics):
    """Mean over cases of one metric, as a scalar to log.

    Args:
        name: of `METRICS`.
        **options: those of `CaseMetrics`.

    Example:
        >>> metric = CaseMetric("volume_difference")
        >>> empty = torch.zeros(1, 1, 4, 4, 4)
        >>> metric(empty, 1 - empty, spacing=torch.tensor([5.0, 5.0, 10.0])).item()
        16.0
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__([name], **options)

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Whether a high mean is better than a low one."""
        return METRICS[self.names[0]].best == "highest"

    def compute(self) -> Tensor:
        """Return the mean over the defined cases.

        Returns:
            A scalar; NaN where no case is defined.
        """
        return super().compute()[self.names[0]]


def _masks(ignore: Tensor | int | None, target: Tensor) -> Iterable[np.ndarray | int | None]:
    """Return for each case what is ignored: a mask, a value, or None."""
    if not isinstance(ignore, Tensor):
        return [ignore] * len(target)
    masks = ignore if ignore.ndim == target.ndim else ignore[:, None]
    if masks.shape != target.shape:
        one = (len(target), *target.shape[2:])
        raise ValueError(f"ignore has shape {tuple(ignore.shape)}; expected {tuple(target.shape)} or {one}")
    return _array(masks)


def _array(masks: Tensor) -> np.ndarray:
    """Return (B, *spatial) on the CPU; bfloat16, which NumPy does not know, holds zeros and ones exactly in float32."""
    found = masks.detach()[:, 0].cpu()
    return (found.float() if found.is_floating_point() else found).numpy()
