"""The door of the losses: input is checked, and activation, one-hot and background are dealt with, here, once."""

from dataclasses import dataclass

import numpy as np
import torch

from multifocal.losses.checks import check_logits, check_precomputed, check_target, check_values, foreground
from multifocal.losses.options import Options
from multifocal.losses.sources import LOG_PROBABILITIES, LOGITS, PROBABILITIES, Source


@dataclass(frozen=True, eq=False)
class View:
    """A batch as terms look at it: a row for each channel of each image.

    Args:
        x: (rows, voxels), of at least 32 bits.
        source: how x becomes probabilities.
        batch: how many images there are.
        channels: how many rows each of them has.
        shape: of an image.
        ones: flat indices where the target is 1, ascending.
        skipped: how many of the first channels count in cross-entropy alone.
        instances: labels of the target's lesions, if they were made beforehand; one a voxel.
        distances: to the target's border, likewise.
        cells: numbers of the nearest lesion, likewise.
    """

    x: torch.Tensor
    source: Source
    batch: int
    channels: int
    shape: tuple[int, ...]
    ones: np.ndarray
    skipped: int = 0
    instances: torch.Tensor | None = None
    distances: torch.Tensor | None = None
    cells: torch.Tensor | None = None


class Door:
    """The two views of one batch.

    Criteria over the image see softmax's classes together (`view(classes=True)`): cross-entropy is of the target's
    class alone. Whatever looks at lesions or distances sees each channel against all others, as it would with a
    sigmoid, and no background. Without softmax both are one.

    Args:
        logits: (B, C, *spatial).
        target: 0/1 of the same shape; with softmax also class numbers, (B, 1, *spatial).
        options: how to read them.
        instances: integer labels of the target's lesions.
        distances: `target_distances(target)`.
        cells: `target_cells(target)`.

    Raises:
        ValueError: something that does not fit.

    Example:
        >>> door = Door(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4), Options(activation="softmax"))
        >>> [door.view(classes=classes).channels for classes in (True, False)]
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
    ) -> None:
        check_logits(logits, options)
        self.options = options
        self.softmax = options.activation == "softmax"
        self._logits = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        self._target = _one_hot(target, logits) if self.softmax else target
        check_target(self._target, logits)
        check_values(self._logits, options)
        for name, value in (("instances", instances), ("distances", distances), ("cells", cells)):
            check_precomputed(name, value, self._target)
        self._precomputed = (instances, distances, cells)

    def view(self, *, classes: bool) -> View:
        """Return the batch as it is looked at."""
        together = classes and self.softmax
        first = 0 if together else self.options.first_channel
        x, target = self._logits[:, first:], self._target[:, first:]
        instances, distances, cells = (None if part is None else part[:, first:] for part in self._precomputed)
        if together:
            x = torch.log_softmax(x, dim=1)
        elif self.softmax:
            x = against_the_rest(self._logits, first=first)
        source = {"sigmoid": LOGITS, "softmax": LOG_PROBABILITIES if together else LOGITS, "none": PROBABILITIES}
        batch, channels, *shape = x.shape
        return View(
            # Contiguous, because everything after counts voxels in a row: one channel of many, say, is not.
            x.reshape(batch * channels, -1).contiguous(),
            source[self.options.activation],
            batch,
            channels,
            tuple(shape),
            foreground(target),
            int(together and self.options.include_background is False),
            instances,
            distances,
            cells,
        )


def against_the_rest(logits: torch.Tensor, *, first: int = 1) -> torch.Tensor:
    """Return `z_c - log Σ_{j≠c} exp z_j` of the channels from the first on, whose sigmoid is softmax's probability.

    Args:
        logits: (B, C, *spatial), two channels or more.
        first: the first channel returned.

    Example:
        >>> logits = torch.tensor([[[[0.0]], [[1.0]], [[3.0]]]])
        >>> torch.allclose(against_the_rest(logits).sigmoid(), logits.softmax(1)[:, 1:])
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


def _one_hot(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return class numbers as ones and zeros; a target that is that already as it is."""
    if not isinstance(target, torch.Tensor) or target.is_complex() or target.ndim != logits.ndim:
        return target  # which is refused
    numbers = target.shape == (logits.shape[0], 1, *logits.shape[2:])
    if numbers:
        classes = torch.arange(logits.shape[1], device=target.device).view(1, -1, *[1] * (target.ndim - 2))
        target = target == classes
    in_one = target.sum(1) == 1
    if target.shape == logits.shape and not bool(in_one.all()):
        last = logits.shape[1] - 1
        expected = f"class numbers from 0 to {last}" if numbers else "a one in one channel, with activation='softmax'"
        raise ValueError(f"target has {int((~in_one).sum())} voxels that are not in one class; expected {expected}")
    return target
