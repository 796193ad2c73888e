import numpy as np
import pytest
import torch


@pytest.fixture(params=[(2, 1, 12, 10), (2, 1, 9, 8, 7)], ids=["2D", "3D"])
def batch(request):
    return _random_batch(request.param)


@pytest.fixture
def random_batch():
    return _random_batch


@pytest.fixture
def lesions():
    return _lesions


def _random_batch(shape, *, seed=0, share=0.2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=dtype)
    return logits, (torch.rand(shape, generator=generator) < share).to(dtype)


def _lesions(rng, shape, *, count, side=4):
    """Boxes of one to `side` voxels an edge anywhere, the border included; they may touch."""
    mask = np.zeros(shape, bool)
    for _ in range(count):
        lower = [int(rng.integers(0, n)) for n in shape]
        mask[tuple(slice(a, a + int(rng.integers(1, side + 1))) for a in lower)] = True
    return mask
