import numpy as np
import pytest
import torch
import torchio as tio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp

from multifocal.pipeline.augment import Augmentation, augment
from multifocal.pipeline.augment.intensity import add_noise, blur, change_gamma

SIZE, SPACING = (16, 14, 10), (1.5, 2.0, 3.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    size=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    std=st.lists(st.floats(0, 3), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_blur_is_scipys(size, std, seed):
    images = torch.randn(2, *size, generator=rng(seed))
    expected = np.stack([gaussian_filter(channel.numpy().astype(float), std[: len(size)]) for channel in images])
    np.testing.assert_allclose(blur(images, std=std[: len(size)]).numpy(), expected, atol=2e-6)


def test_gamma_is_torchios():
    images = torch.randn(2, *SIZE, generator=rng())
    images[1].abs_()
    images[:, 0] = 0
    expected = tio.Gamma([0.9, 1.2])(tio.ScalarImage(tensor=images)).data
    torch.testing.assert_close(change_gamma(images, exponents=[0.9, 1.2]), expected)


def test_noise_has_the_asked_moments_everywhere():
    images = torch.zeros(2, 40, 40, 40)
    noise = add_noise(images, mean=0.5, std=0.2, seed=7)
    for part in (noise[0], noise[1], noise[:, :5]):
        assert float(part.mean()) == pytest.approx(0.5, abs=0.005)
        assert float(part.std()) == pytest.approx(0.2, rel=0.02)
    assert abs(float(torch.corrcoef(noise.flatten(1))[0, 1])) < 0.02
    assert torch.equal(noise, add_noise(images, mean=0.5, std=0.2, seed=7))
    assert not torch.equal(noise, add_noise(images, mean=0.5, std=0.2, seed=8))


RANDOM = {
    "noise": (tio.RandomNoise(mean=(0.0, 0.0), std=(0, 0.01)), {}),
    "blur": (tio.RandomBlur(std=(0, 1.5)), {"std": [0, 1.5]}),
    "gamma": (tio.RandomGamma(log_gamma=(-0.1, 0.1)), {}),
    "anisotropy": (tio.RandomAnisotropy(downsampling=(1.2, 2.0)), {}),
}


@pytest.mark.parametrize("name", RANDOM)
def test_changes_are_distributed_as_torchios(name):
    """Mean, spread and extreme of the change of an image, each over many draws."""
    theirs, options = RANDOM[name]
    image = torch.randn(1, *SIZE, generator=rng()) + 0.5
    settings = Augmentation.model_validate({name: {"p": 1, **options}})
    generator = rng(1)
    draws = 200
    ours = [augment(image, None, settings=settings, generator=generator, spacing=SPACING)[0] for _ in range(draws)]
    source = tio.ScalarImage(tensor=image, affine=np.diag([*SPACING, 1]))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        reference = [theirs(source).data for _ in range(draws)]

    def statistics(samples):
        # TorchIO puts zeros at the ends of the coarsened axis: leave the outermost voxels aside
        change = torch.stack(samples)[..., 1:-1, 1:-1, 1:-1] - image[..., 1:-1, 1:-1, 1:-1]
        change = change.flatten(1)
        return torch.stack([change.mean(dim=1), change.std(dim=1), change.abs().amax(dim=1)]).numpy()

    for mine, other in zip(statistics(ours), statistics(reference), strict=True):
        assert ks_2samp(mine, other).pvalue > 0.005


def test_channels_share_noise_and_blur_settings_but_not_gamma():
    images = torch.rand(1, 20, 20, generator=rng()).repeat(2, 1, 1) + 1
    for name, alike in (("blur", True), ("gamma", False)):
        settings = Augmentation.model_validate({name: {"p": 1}})
        changed, _ = augment(images, None, settings=settings, generator=rng())
        assert torch.equal(changed[0], changed[1]) is alike
        assert not torch.equal(changed, images)
