"""Multi-scale structural similarity of probability and target maps."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from multifocal.losses.batch_sums import BatchSums
from multifocal.losses.inputs import CLASS_WEIGHTS, IGNORE
from multifocal.losses.loss import TERMS, Needs, Term

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003
_WINDOW, _SIGMA, _C1, _C2 = 11, 1.5, 0.01**2, 0.03**2
_AT_ONCE = 1 << 19  # voxels


@TERMS.register("ms-ssim")
@dataclass(frozen=True)
class MSSSIM(Term):
    """`1 - MS-SSIM(p, y)` (Wang 2003): contrast and structure at five scales, luminance at the last.

    A Gaussian window of 11 voxels, as far as an axis has them. Where an image is too small for five scales, those that
    fit count, their exponents scaled to the same sum. A window with an ignored voxel does not count, at a coarser scale
    nor does one with a voxel of which a part is ignored; the scales from the first without a window on count as those
    that do not fit, and an image without any costs 0.

    Example:
        >>> target = torch.zeros(1, 1, 32, 32)
        >>> target[..., 8:16, 8:16] = 1
        >>> round(MSSSIM().build(activation="none")(target, target).item(), 4)
        0.0
    """

    name = "ms-ssim"
    follows = IGNORE | CLASS_WEIGHTS

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
        shape = (batch_sums.images, 1, *batch_sums.shape)
        p = torch.sigmoid(batch_sums.x) if batch_sums.activation.name == "logits" else batch_sums.x
        p, y = p.view(shape), torch.from_numpy(batch_sums.true_mask).to(p.device).view(shape)
        # Every scale but the first halves the axes that are longer than the window.
        longest = max(batch_sums.shape)
        count = 1
        while count < len(_WEIGHTS) and longest // 2**count >= _WINDOW:
            count += 1
        if batch_sums.view.ignored is not None:
            return _loss(_of_known(p, y, batch_sums.view.ignored.view(shape), count), batch_sums)
        weights = [weight * sum(_WEIGHTS) / sum(_WEIGHTS[:count]) for weight in _WEIGHTS[:count]]
        similarity = torch.ones(batch_sums.images, dtype=p.dtype, device=p.device)
        for scale, weight in enumerate(weights):
            # Negative correlations have no such power; they count as none at all.
            mean = _mean(p, y, last=scale == count - 1).clamp_min(torch.finfo(p.dtype).eps)
            similarity = similarity * mean.pow(weight)
            if scale < count - 1:
                p, y = (_halved(image) for image in (p, y.to(p.dtype)))
        return _loss(similarity, batch_sums)


def _loss(similarity: torch.Tensor, batch_sums: BatchSums) -> torch.Tensor:
    if batch_sums.view.class_weights is None:
        return 1 - similarity.mean()
    weights = batch_sums.class_weights_of(np.arange(len(similarity)))
    return 1 - (similarity * weights).sum() / weights.sum()


def _of_known(p: torch.Tensor, y: torch.Tensor, ignored: torch.Tensor, count: int) -> torch.Tensor:
    """Return the similarity of each image, over the windows without an ignored voxel at up to `count` scales."""
    scales, hidden = [], ignored.to(p.dtype)
    for _ in range(count):
        scales.append(_highest(hidden, [min(_WINDOW, side) for side in hidden.shape[2:]]) == 0)
        hidden = _highest(hidden, _kernel(hidden), halve=True)
    windows = torch.stack([complete.flatten(1).sum(1) for complete in scales])
    fit = (windows > 0).cumprod(0).sum(0)  # scales of each image
    total = torch.tensor([0.0, *_WEIGHTS], dtype=p.dtype, device=p.device).cumsum(0)
    similarity = torch.ones(len(p), dtype=p.dtype, device=p.device)
    for scale, complete in enumerate(scales):
        last = (fit == scale + 1).view(-1, *[1] * (p.ndim - 1))
        mean = _mean(p, y, last=last, complete=complete).clamp_min(torch.finfo(p.dtype).eps)
        power = _WEIGHTS[scale] * total[-1] / total[fit.clamp_min(1)]
        similarity = torch.where(fit > scale, similarity * mean.pow(power), similarity)
        if scale < count - 1:
            p, y = (_halved(image) for image in (p, y.to(p.dtype)))
    return similarity


def _highest(image: torch.Tensor, kernel: list[int], *, halve: bool = False) -> torch.Tensor:
    """Return the highest value of each window, one axis after the other."""
    pool = functional.max_pool2d if len(kernel) == 2 else functional.max_pool3d
    for axis, length in enumerate(kernel):
        along = [length if axis == other else 1 for other in range(len(kernel))]
        image = pool(image, along, stride=along if halve else 1)
    return image


def _mean(
    p: torch.Tensor, y: torch.Tensor, *, last: bool | torch.Tensor, complete: torch.Tensor | None = None
) -> torch.Tensor:
    """Return each image's mean similarity, from a few images or a slab of one at a time.

    `last`: whether luminance counts, of all or of each; `complete`: which windows count.

    Backward computes each part again, so that the maps of one part are all that is ever held.
    """
    window = min(_WINDOW, p.shape[2])
    places = p.shape[2] - window + 1
    row = p[0, 0, 0].numel()
    images = max(1, _AT_ONCE // (row * p.shape[2]))
    rows = min(places, max(window, _AT_ONCE // row - window + 1))
    sums = []
    for first in range(0, len(p), images):
        parts = []
        for start in range(0, places, rows):
            some, end = slice(first, first + images), min(start + rows, places)
            part = some, slice(None), slice(start, end + window - 1)
            of_last = last if isinstance(last, bool) else last[some]
            kept = None if complete is None else complete[some, :, start:end]
            parts.append(checkpoint(_sum, p[part], y[part], of_last, kept, use_reentrant=False))
        sums.append(torch.stack(parts).sum(0))
    if complete is not None:
        return torch.cat(sums) / complete.flatten(1).sum(1).clamp_min(1)
    count = math.prod(side - min(_WINDOW, side) + 1 for side in p.shape[2:])
    return torch.cat(sums) / count


def _sum(p: torch.Tensor, y: torch.Tensor, last: bool | torch.Tensor, complete: torch.Tensor | None) -> torch.Tensor:
    luminance, contrast = _similarity(p, y.to(p.dtype))
    if isinstance(last, bool) or complete is None:
        return (luminance * contrast if last else contrast).flatten(1).sum(1)
    found = torch.where(last, luminance * contrast, contrast)
    return torch.where(complete, found, 0).flatten(1).sum(1)


def _similarity(p: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = _blurred(torch.cat([p, y, p * p, y * y, p * y]))
    of_p, of_y, of_pp, of_yy, of_py = means.chunk(5)
    luminance = (2 * of_p * of_y + _C1) / (of_p.square() + of_y.square() + _C1)
    variances = of_pp - of_p.square() + of_yy - of_y.square()
    return luminance, (2 * (of_py - of_p * of_y) + _C2) / (variances + _C2)


def _blurred(image: torch.Tensor) -> torch.Tensor:
    """Blur along each axis in turn, without padding: products with band matrices, the fastest way on a CPU."""
    for axis in range(2, image.ndim):
        side = image.shape[axis]
        length = min(_WINDOW, side)
        steps = torch.arange(length, dtype=image.dtype, device=image.device) - (length - 1) / 2
        kernel = torch.softmax(-steps.square() / (2 * _SIGMA**2), 0)
        band = torch.zeros(side, side - length + 1, dtype=image.dtype, device=image.device)
        for step in range(length):
            band.diagonal(-step).fill_(kernel[step])
        image = (image.transpose(axis, -1) @ band).transpose(axis, -1)
    return image


def _halved(image: torch.Tensor) -> torch.Tensor:
    kernel = _kernel(image)
    return (functional.avg_pool2d if len(kernel) == 2 else functional.avg_pool3d)(image, kernel)


def _kernel(image: torch.Tensor) -> list[int]:
    return [2 if side >= 2 * _WINDOW else 1 for side in image.shape[2:]]
