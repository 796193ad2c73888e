import numpy as np
import pytest
import torch
import torchio as tio
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp, kstest

from multifocal.pipeline.augment import Augmentation, augment
from multifocal.pipeline.augment.intensity import add_noise, blur, change_gamma, change_scale, coarsen

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


@pytest.mark.parametrize(
    "options", [{"factors": [1.5, -2.0]}, {"offsets": [3.0, 0.5]}, {"factors": [2, 3], "offsets": [1, 2]}]
)
def test_scale_and_shift_are_those_of_each_channel(options):
    images = torch.randn(2, *SIZE, generator=rng())
    found = change_scale(images, **options)
    for channel in range(2):
        factor, offset = options.get("factors", [1, 1])[channel], options.get("offsets", [0, 0])[channel]
        np.testing.assert_allclose(
            found[channel].numpy(), images[channel].numpy() * factor + offset, rtol=1e-6, atol=1e-6
        )


def test_scale_and_shift_draw_a_number_for_each_channel():
    settings = Augmentation.model_validate(
        {"scale": {"p": 1, "factors": [0.5, 2]}, "shift": {"p": 1, "offsets": [-1, 3]}}
    )
    images = torch.randn(2, *SIZE, generator=rng())
    factors, offsets = [], []
    for seed in range(200):
        changed, _ = augment(images, None, settings=settings, generator=rng(seed))
        for new, old in zip(changed.numpy(), images.numpy(), strict=True):
            slope, offset = np.polyfit(old.ravel(), new.ravel(), 1)
            factors.append(slope)
            offsets.append(offset)
    assert len({round(float(factor), 5) for factor in factors}) > 390
    assert kstest(factors, "uniform", (0.5, 1.5)).pvalue > 0.01 and kstest(offsets, "uniform", (-1, 4)).pvalue > 0.01


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


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(*[st.integers(2, 25)] * 3),
    axis=st.integers(0, 2),
    factor=st.integers(1050, 1950).map(lambda thousandths: thousandths / 1000 + 0.00037),
    seed=st.integers(0, 99),
)
def test_coarsening_is_torchios_but_at_the_ends(size, axis, factor, seed):
    # with an odd number of samples of an even number of voxels the middle sample lies half way between two voxels
    assume(size[axis] % 2 or int(size[axis] / factor) % 2 == 0)
    images = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed)) + 1
    transform = tio.RandomAnisotropy(axes=axis, downsampling=(factor, factor))
    theirs = transform(tio.ScalarImage(tensor=images, affine=np.diag([-1, -1, 1, 1]))).data
    ours = coarsen(images, axis=axis, factor=factor)
    outside = theirs == 0  # what TorchIO takes to lie outside the coarse image
    assert outside.movedim(axis + 1, 0)[1:-1].sum() == 0
    torch.testing.assert_close(ours[~outside], theirs[~outside], atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 5), (5, 1), (2, 3, 1)])
@pytest.mark.parametrize("factor", [1.0, 1.5, 7.0])
def test_constant_images_stay_and_the_rest_keeps_its_range(size, factor):
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(0))
    for axis in range(len(size)):
        constant = torch.full_like(images, -0.7)
        torch.testing.assert_close(coarsen(constant, axis=axis, factor=factor), constant)
        changed = coarsen(images, axis=axis, factor=factor)
        assert images.min() <= changed.min()
        assert changed.max() <= images.max()


def test_factor_one_changes_nothing():
    images = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(coarsen(images, axis=0, factor=1.0), images)


def test_only_the_chosen_axis_is_touched():
    ramp = torch.arange(12.0).reshape(1, 12, 1).repeat(1, 1, 9)
    assert torch.equal(coarsen(ramp, axis=1, factor=2.0), ramp)
    assert not torch.equal(coarsen(ramp, axis=0, factor=2.0), ramp)
