"""How every loss reads its input: options and checks; activation, one-hot and background are dealt with here, once."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, Field

from multifocal.config import Checked, NonNegative, Positive
from multifocal.errors import UserError
from multifocal.instances import Connectivity
from multifocal.losses.ignored import without_ignored
from multifocal.losses.probabilities import LOG_PROBABILITIES, LOGITS, PROBABILITIES, Activation

ActivationName = Literal["sigmoid", "softmax", "none"]
Reduction = Literal["mean", "sum", "none"]
IGNORE, CLASS_WEIGHTS = frozenset({"ignore"}), frozenset({"class_weights"})  # options that terms must follow
_HALF, _ROUNDED = 0.5, 1e-2  # from where on a soft label is a lesion; how far from 1 shares in few bits may add up
_NEVER = -1e4  # a logit, or the logarithm of a probability, whose probability is 0 in 64 bits, too
_MOST_CHANNELS = 16  # without softmax: more are a volume whose batch axis is missing
Spacing = Annotated[tuple[Positive, ...], BeforeValidator(lambda sides: _numbers(sides))]
ClassWeights = Annotated[tuple[NonNegative, ...], Field(min_length=1), BeforeValidator(lambda held: _numbers(held))]


@dataclass(frozen=True)
class Options(Checked):
    """How input is to be read; the same for every loss.

    Args:
        activation: "sigmoid" and "softmax" (over the channels) take logits, "none" takes probabilities.
        spacing: mm per voxel along each axis, for distances; None counts in voxels.
        connectivity: what joins voxels to one component.
        threshold: voxels with p >= threshold are predicted foreground; the Hausdorff losses take p > threshold.
        include_background: whether channel 0 counts. None: with softmax it is the background, which counts in
            criteria over the image, as in MONAI, and not in what looks at lesions or distances; otherwise every
            channel counts.
        relaxed: where the published value has no gradient to learn from, take that of a soft stand-in.
        ignore: value of the target's voxels that are in no sum, no component, no distance and no cell, such as 255;
            None for none. Without softmax any but 0 and 1, of each channel by itself; with softmax a voxel that is
            ignored in one channel is in all.
        class_weights: one number, 0 or more, for each channel of the logits, channel 0 too where it does not count:
            means over channels, and over regions and lesions of several channels, become weighted ones,
            `Σ w_c L_c / Σ w_c`; with softmax cross-entropy and focal are divided by the weights of the voxels' own
            classes, as torch's cross-entropy is. None weighs all alike.
        soft_labels: whether targets are shares from 0 to 1 (with softmax adding up to 1 over channels): criteria over
            the image take `y cost(1) + (1 - y) cost(0)` of a voxel, so that Σy and Σpy are what they say; whatever
            looks at lesions, distances, other regions or structure takes y >= 0.5.
        label_smoothing: ε, the part of the labels that cross-entropy and focal over the image spread over the classes:
            `(1 - ε) y + ε/C` with softmax, as torch's cross-entropy does, and `(1 - ε) y + ε/2` without.
        reduction: "mean" is the loss as it is defined, of the batch; "none" the loss of each image alone, as if it were
            the batch, (B,); "sum" is the sum of these.

    Raises:
        UserError: an option that cannot be.

    Example:
        >>> Options(spacing=(1.0, 1.0, 3.0)).activation
        'sigmoid'
    """

    activation: ActivationName = "sigmoid"
    spacing: Spacing | None = None
    connectivity: Connectivity = "full"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    include_background: bool | None = None
    relaxed: bool = True
    ignore: int | None = None
    class_weights: ClassWeights | None = None
    reduction: Reduction = "mean"
    soft_labels: bool = False
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", _numbers(self.spacing))
        object.__setattr__(self, "class_weights", _numbers(self.class_weights))
        super().__post_init__()
        if self.class_weights is not None and not any(self.class_weights[self.first_channel :]):
            raise UserError(
                f"Options: class_weights={self.class_weights}; expected one above 0 of a channel that counts"
            )
        if self.activation != "softmax" and self.ignore in (0, 1):
            raise UserError(f"Options: ignore={self.ignore}; expected another value than the target's 0 and 1")

    @property
    def first_channel(self) -> int:
        """The first channel that what looks at lesions or distances looks at."""
        without = self.activation == "softmax" if self.include_background is None else not self.include_background
        return int(without)


@dataclass(frozen=True, eq=False)
class ChannelView:
    """A batch as terms look at it: a row for each channel of each image.

    Args:
        x: (rows, voxels), of at least 32 bits.
        activation: how x becomes probabilities.
        batch: how many images there are.
        channels: how many rows each of them has.
        shape: of an image.
        foreground_index: flat indices where the target is 1, ascending.
        skipped: how many of the first channels count in cross-entropy alone.
        instances: labels of the target's lesions, if they were made beforehand; one a voxel.
        distances: to the target's border, likewise.
        cells: numbers of the nearest lesion, likewise.
        ignored: (rows, voxels), True where a voxel is ignored: x is certain there that nothing is; None for nowhere.
        class_weights: of the channels; None for all alike.
        shares: (rows, voxels), the target where it is soft or smoothed; None where 0 and 1 are all there is.
    """

    x: torch.Tensor
    activation: Activation
    batch: int
    channels: int
    shape: tuple[int, ...]
    foreground_index: np.ndarray
    skipped: int = 0
    instances: torch.Tensor | None = None
    distances: torch.Tensor | None = None
    cells: torch.Tensor | None = None
    ignored: torch.Tensor | None = None
    class_weights: tuple[float, ...] | None = None
    shares: torch.Tensor | None = None


class LossInput:
    """The two views of one batch.

    Criteria over the image see softmax's classes together (`view(classes=True)`): cross-entropy is of the target's
    class alone. Whatever looks at lesions or distances sees each channel against all others, as it would with a
    sigmoid, and no background. Without softmax both are one.

    Args:
        logits: (B, C, *spatial).
        target: 0/1 of the same shape; with softmax also class numbers, (B, 1, *spatial) or (B, *spatial).
        options: how to read them.
        instances: integer labels of the target's lesions.
        distances: `target_distances(target)`.
        cells: `target_cells(target)`.
        ignore: mask of voxels that are ignored, besides those with the value `options.ignore`.

    Raises:
        ValueError: something that does not fit.

    Example:
        >>> loss_input = LossInput(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4), Options(activation="softmax"))
        >>> [loss_input.view(classes=classes).channels for classes in (True, False)]
        [2, 1]
    """

    def __init__(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        options: Options,
        *,
        instances: torch.Tensor | None = None,
        distances: torch.Tensor | None = None,
        cells: torch.Tensor | None = None,
        ignore: torch.Tensor | None = None,
    ) -> None:
        check_logits(logits, options)
        self.options = options
        self.softmax = options.activation == "softmax"
        self._logits = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        target, self._ignored = without_ignored(
            target, logits.shape, value=options.ignore, mask=ignore, softmax=self.softmax
        )
        soft = options.soft_labels
        self._target = _one_hot(target, logits, self._ignored, soft=soft) if self.softmax else target
        check_target(self._target, logits)
        self._shares: torch.Tensor | None = None
        if soft:
            check_shares(self._target)
            self._shares, self._target = self._target, self._target >= _HALF
        elif options.label_smoothing:
            self._shares = self._target
        if self._ignored is not None:
            # Whatever stands there, NaN too, is gone before anything is computed from it.
            self._logits = self._logits.masked_fill(self._ignored, 0 if options.activation == "none" else _NEVER)
        check_values(self._logits, options)
        for name, value in (("instances", instances), ("distances", distances), ("cells", cells)):
            check_precomputed(name, value, self._target)
        self._precomputed: tuple[torch.Tensor | None, ...] = (instances, distances, cells)

    def images(self) -> "Iterator[LossInput]":
        """Yield each image as a batch of its own."""
        for image in range(len(self._logits)):
            one, here = copy(self), slice(image, image + 1)
            one._logits, one._target = self._logits[here], self._target[here]
            one._ignored = None if self._ignored is None else self._ignored[here]
            one._shares = None if self._shares is None else self._shares[here]
            one._precomputed = tuple(None if part is None else part[here] for part in self._precomputed)
            yield one

    @property
    def is_soft(self) -> bool:
        """Whether some terms see other labels than 0 and 1."""
        return self._shares is not None

    def view(self, *, classes: bool, soft: bool = False) -> ChannelView:
        """Return the batch as it is looked at; `soft` with the target's shares."""
        together = classes and self.softmax
        first = 0 if together else self.options.first_channel
        x, target = self._logits[:, first:], self._target[:, first:]
        instances, distances, cells = (None if part is None else part[:, first:] for part in self._precomputed)
        if together:
            x = torch.log_softmax(x, dim=1)
        elif self.softmax:
            x = one_vs_rest_logits(self._logits, first=first)
        ignored = None
        if self._ignored is not None:
            ignored = self._ignored.expand(self._logits.shape)[:, first:]
            x = x.masked_fill(ignored, _NEVER) if self.softmax else x
            instances = None if instances is None else instances.masked_fill(ignored.to(instances.device), 0)
            ignored = ignored.reshape(len(x) * x.shape[1], -1).contiguous()
        activation = {"sigmoid": LOGITS, "softmax": LOG_PROBABILITIES if together else LOGITS, "none": PROBABILITIES}
        batch, channels, *shape = x.shape
        shares = None
        if soft and self._shares is not None:
            shares = self._shares[:, first:].detach().to(x).reshape(batch * channels, -1)
        skipped = int(together and self.options.include_background is False)
        weights = None if self.options.class_weights is None else self.options.class_weights[first:]
        return ChannelView(
            # Contiguous, because everything after counts voxels in a row: one channel of many, say, is not.
            x.reshape(batch * channels, -1).contiguous(),
            activation[self.options.activation],
            batch,
            channels,
            tuple(shape),
            foreground(target),
            skipped,
            instances,
            distances,
            cells,
            ignored,
            weights,
            shares,
        )


def one_vs_rest_logits(logits: torch.Tensor, *, first: int = 1) -> torch.Tensor:
    """Return `z_c - log Σ_{j≠c} exp z_j` of the channels from the first on, whose sigmoid is softmax's probability.

    Args:
        logits: (B, C, *spatial), two channels or more.
        first: the first channel returned.

    Returns:
        (B, C - first, *spatial).

    Example:
        >>> logits = torch.tensor([[[[0.0]], [[1.0]], [[3.0]]]])
        >>> torch.allclose(one_vs_rest_logits(logits).sigmoid(), logits.softmax(1)[:, 1:])
        True
    """
    channels = logits.shape[1]
    if channels == 2 and first == 1:
        return logits[:, 1:] - logits[:, :1]
    others = [
        torch.logsumexp(torch.cat([logits[:, :c], logits[:, c + 1 :]], 1), 1, keepdim=True)
        for c in range(first, channels)
    ]
    return logits[:, first:] - torch.cat(others, 1)


def foreground(target: torch.Tensor) -> np.ndarray:
    """Return the flat indices where the target is 1.

    Args:
        target: zeros and ones of any shape and type.

    Returns:
        int64 (N,), in increasing order.

    Raises:
        ValueError: the target holds something else than 0 and 1.

    Example:
        >>> foreground(torch.tensor([[0, 1], [1, 0]])).tolist()
        [1, 2]
    """
    flat = target.detach().reshape(-1)
    if flat.device.type != "cpu":
        where = torch.nonzero(flat).view(-1)
        values, found = flat[where], where.cpu().numpy()
    else:
        # NumPy compares and searches several times faster than torch does.
        flat = flat.float() if flat.dtype in (torch.bfloat16, torch.float16) else flat
        found = np.flatnonzero(flat.numpy() if flat.dtype == torch.bool else flat.numpy() != 0)
        values = flat[torch.from_numpy(found)]
    if values.dtype != torch.bool and not bool((values == 1).all()):
        wrong = values[values != 1][0].item()
        between = ", or soft_labels=True for shares" if 0 < wrong < 1 else ""
        raise ValueError(f"target holds {wrong:.6g}; expected only 0 and 1{between}")
    return found


def check_target_alone(target: torch.Tensor) -> None:
    """Raise ValueError for a target of no loss."""
    if not isinstance(target, torch.Tensor):
        raise ValueError(f"target is a {type(target).__name__}; expected a tensor")
    if target.is_complex():
        raise ValueError(f"target has dtype {target.dtype}; expected zeros and ones of a real type")
    if target.ndim not in (4, 5):
        raise ValueError(f"target has shape {tuple(target.shape)}; expected (B, C, X, Y) or (B, C, X, Y, Z)")


def check_logits(logits: torch.Tensor, options: Options) -> None:
    """Raise ValueError for a type, a shape or channels that no loss with these options takes."""
    if not isinstance(logits, torch.Tensor):
        raise ValueError(f"logits is a {type(logits).__name__}; expected a tensor")
    if not logits.is_floating_point():
        raise ValueError(f"logits has dtype {logits.dtype}; expected a floating-point type")
    if logits.ndim not in (4, 5):
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected (B, C, X, Y) or (B, C, X, Y, Z)")
    if options.activation != "softmax" and logits.shape[1] > _MOST_CHANNELS:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}, which is {logits.shape[1]} channels; expected at most "
            f"{_MOST_CHANNELS}, or a batch axis before a volume's channels: logits.unsqueeze(0)"
        )
    if logits.numel() == 0:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; expected at least one voxel")
    if options.activation == "softmax" and logits.shape[1] == 1:
        raise ValueError("logits has 1 channel; expected 2 or more with activation='softmax'")
    if options.include_background is False and logits.shape[1] == 1:
        raise ValueError("logits has 1 channel; expected 2 or more with include_background=False")
    if options.class_weights is not None and len(options.class_weights) != logits.shape[1]:
        found = f"class_weights={options.class_weights}, which is {len(options.class_weights)} numbers"
        raise ValueError(f"{found}; expected one for each channel of the logits, {logits.shape[1]}")
    if options.spacing is not None and len(options.spacing) != logits.ndim - 2:
        raise ValueError(f"spacing={options.spacing}; expected {logits.ndim - 2} numbers, one for each axis")


def check_target(target: torch.Tensor, logits: torch.Tensor) -> None:
    """Raise ValueError for a target that does not lie beside the logits."""
    if isinstance(target, torch.Tensor) and target.shape == (logits.shape[0], *logits.shape[2:]):
        wanted = f"expected that of logits, {tuple(logits.shape)}: target.unsqueeze(1)"
        raise ValueError(f"target has shape {tuple(target.shape)}; {wanted}")
    check_target_alone(target)
    if target.shape != logits.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}; expected that of logits, {tuple(logits.shape)}")
    if target.device != logits.device:
        raise ValueError(f"target is on {target.device}; expected it on {logits.device}, with logits")


def check_shares(target: torch.Tensor) -> None:
    """Raise ValueError for labels outside 0 to 1, and NaN."""
    if target.dtype == torch.bool:
        return
    low, high = (float(end) for end in target.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"target ranges from {low:.6g} to {high:.6g}; expected shares from 0 to 1 with soft_labels=True"
        )


def check_values(logits: torch.Tensor, options: Options) -> None:
    """Raise ValueError for NaN, infinities, and probabilities outside 0 to 1."""
    low, high = (float(end) for end in logits.detach().aminmax())
    if low != low:
        raise ValueError("logits holds NaN; expected numbers")
    if options.activation == "none" and (low < 0 or high > 1):
        raise ValueError(f"logits ranges from {low:.6g} to {high:.6g}; expected probabilities with activation='none'")
    if low == -np.inf or high == np.inf:
        raise ValueError(f"logits ranges from {low:.6g} to {high:.6g}; expected finite numbers")


def check_precomputed(name: str, value: torch.Tensor | None, target: torch.Tensor) -> None:
    """Raise ValueError for something of another type or shape than the target's lesions or distances have."""
    if value is None:
        return
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is a {type(value).__name__}; expected a tensor")
    whole = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    kinds = {"instances": "integer labels, 0 for background", "cells": "integer numbers of the nearest lesion"}
    expected = kinds.get(name, "a floating-point type")
    if whole if name == "distances" else not whole:
        raise ValueError(f"{name} has dtype {value.dtype}; expected {expected}")
    if value.shape != target.shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected that of the logits, {tuple(target.shape)}")


def _one_hot(target: torch.Tensor, logits: torch.Tensor, ignored: torch.Tensor | None, *, soft: bool) -> torch.Tensor:
    """Return class numbers as ones and zeros, zeros where they are ignored; a target that is that already as it is."""
    if isinstance(target, torch.Tensor) and target.shape == (logits.shape[0], *logits.shape[2:]):
        target = target[:, None]
    if not isinstance(target, torch.Tensor) or target.is_complex() or target.ndim != logits.ndim:
        return target  # which is refused
    numbers = target.shape == (logits.shape[0], 1, *logits.shape[2:])
    if numbers:
        classes = torch.arange(logits.shape[1], device=target.device).view(1, -1, *[1] * (target.ndim - 2))
        target = target == classes
    in_one = (target.sum(1) - 1).abs() <= _ROUNDED if soft and not numbers else target.sum(1) == 1
    if ignored is not None and target.shape == logits.shape:
        target, in_one = target.masked_fill(ignored, 0), in_one | ignored[:, 0]
    if target.shape == logits.shape and not bool(in_one.all()):
        last = logits.shape[1] - 1
        expected = f"class numbers from 0 to {last}" if numbers else "a one in one channel, with activation='softmax'"
        expected = "channels that add up to 1, with activation='softmax'" if soft and not numbers else expected
        raise ValueError(f"target has {int((~in_one).sum())} voxels that are not in one class; expected {expected}")
    return target


def _numbers(sides: Any) -> Any:
    """Return a list, an array or a header's numbers as a tuple; anything else as it is."""
    if isinstance(sides, str) or not hasattr(sides, "__iter__"):
        return sides
    return tuple(float(side) if hasattr(side, "__float__") else side for side in sides)
