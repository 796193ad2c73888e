import numpy as np
import pytest
import torch
import torchio as tio
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from multifocal.pipeline.augment.anisotropy import coarsen


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
