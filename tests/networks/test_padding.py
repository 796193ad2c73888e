import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from multifocal.networks import Padded


class Recorder(nn.Module):
    multiple = 4

    def forward(self, images):
        self.seen = images
        return 2 * images


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=2, max_size=3))
def test_zeros_at_the_far_end_up_to_the_multiple_and_back(size):
    network = Recorder()
    images = torch.rand(2, 1, *size) + 1
    assert torch.equal(Padded(network)(images), 2 * images)
    seen = network.seen
    assert all(length % 4 == 0 for length in seen.shape[2:])
    assert torch.equal(seen[(..., *(slice(length) for length in size))], images)
    assert seen.sum().item() == pytest.approx(images.sum().item(), rel=1e-5)
    assert seen[0, 0].numel() > 4 ** len(size) or max(size) > 4


@pytest.mark.parametrize("size", [(4, 8), (8, 8, 4), (12, 4, 4)])
def test_nothing_is_copied_that_fits(size):
    network, images = Recorder(), torch.rand(1, 1, *size)
    Padded(network)(images)
    assert network.seen is images
