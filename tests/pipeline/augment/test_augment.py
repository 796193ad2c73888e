import pytest
import torch

from multifocal.pipeline.augment import Augmentation, augment

ALL = {name: {"p": 1} for name in Augmentation.model_fields}


def sample(size, *, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(channels, *size, generator=generator)
    return images, (torch.rand(size, generator=generator) > 0.8).to(torch.uint8)


@pytest.mark.parametrize("size", [(20, 17, 9), (33, 21)])
def test_same_seed_same_sample(size):
    images, target = sample(size)
    settings = Augmentation.model_validate(ALL)
    once, again, other = (
        augment(images, target, settings=settings, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[0], other[0])
    assert not torch.equal(once[1], other[1])
