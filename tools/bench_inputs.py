"""Batches to measure losses on: synthetic ones, and real masks with degraded predictions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from multifocal.volumes import read

# Shape, lesions an image, predicted components an image.
INPUTS = {
    "slices-48": ((48, 1, 256, 256), (0, 15), (10, 40)),
    "slices-4": ((4, 1, 256, 256), (0, 15), (10, 40)),
    "volumes-4": ((4, 1, 192, 192, 32), (5, 60), (5, 60)),
    "volume-1": ((1, 1, 128, 128, 64), (5, 60), (5, 60)),
    "memory": ((4, 1, 192, 192, 64), (5, 60), (5, 60)),
}
Batch = tuple[torch.Tensor, torch.Tensor]


def blobs(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Return a mask of balls of 1 to 4 voxels' radius (less along short axes)."""
    mask = np.zeros(shape, bool)
    for _ in range(count):
        radius = rng.integers(1, 5)
        centre = [int(rng.integers(radius, side - radius)) for side in shape]
        window = tuple(slice(c - radius, c + radius + 1) for c in centre)
        steps = np.arange(-radius, radius + 1)
        mask[window] |= sum(np.meshgrid(*[steps**2] * len(shape), indexing="ij")) <= radius**2
    return mask


def degraded(rng: np.random.Generator, mask: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Return logits that find most of a mask, a voxel aside, and something else besides."""
    moved = np.roll(mask, rng.integers(-1, 2, mask.ndim), tuple(range(mask.ndim)))
    found = (moved & (rng.random(mask.shape) < 0.95)) | extra
    return np.where(found, 2.0, -5.0) + rng.normal(0, 0.5, mask.shape)


def synthetic(name: str) -> Batch:
    """Return logits and target of one of `INPUTS`."""
    shape, lesions, components = INPUTS[name]
    rng = np.random.default_rng(0)
    logits, target = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for image in range(shape[0]):
        mask = blobs(rng, shape[2:], int(rng.integers(lesions[0], lesions[1] + 1)))
        extra = blobs(rng, shape[2:], int(rng.integers(components[0], components[1] + 1)) // 2)
        target[image, 0], logits[image, 0] = mask, degraded(rng, mask, extra)
    return torch.from_numpy(logits), torch.from_numpy(target)


def crowded(shape: tuple[int, ...], count: int) -> Batch:
    """Return one image with so many lesions, and a quarter as many false ones."""
    rng = np.random.default_rng(0)
    mask = blobs(rng, shape, count)
    return _batch(degraded(rng, mask, blobs(rng, shape, count // 4)), mask)


def masks(folder: Path) -> Iterator[Batch]:
    """Yield the real masks below a folder with degraded predictions."""
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.nii*")):
        mask = read(path).array > 0
        yield _batch(degraded(rng, mask, blobs(rng, mask.shape, 20)), mask)


def _batch(logits: np.ndarray, mask: np.ndarray) -> Batch:
    return tuple(torch.from_numpy(array.astype(np.float32))[None, None] for array in (logits, mask))
