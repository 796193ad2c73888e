import pytest
import torch
from torch import nn

from multifocal.errors import UserError
from multifocal.networks.timing import step_seconds


class Counting(nn.Conv2d):
    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images)


def test_one_step_to_warm_up_and_three_that_count():
    network = Counting(2, 1, 3, padding=1)
    before = network.weight.detach().clone()
    assert step_seconds(network, (5, 7), device=torch.device("cpu"), in_channels=2) > 0
    assert network.calls == 4 and not torch.equal(network.weight, before)


def test_want_of_memory_is_one_line_and_a_bug_is_none():
    class Broken(nn.Conv2d):
        error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

        def forward(self, images):
            raise self.error

    with pytest.raises(UserError, match="^out of memory: 2.00 GiB more .*; choose a smaller --size$"):
        step_seconds(Broken(1, 1, 1), (4, 4), device=torch.device("cpu"))
    Broken.error = RuntimeError("other")
    with pytest.raises(RuntimeError, match="other"):
        step_seconds(Broken(1, 1, 1), (4, 4), device=torch.device("cpu"))
