import math

import pytest
import torch
from torch import nn

from multifocal import networks
from multifocal.errors import UserError

SMALL = {"features": [4, 8, 8], "blocks": [1, 1, 2]}


def test_the_published_size():
    """120.74 million weights with two inputs, as rebuilt from the published description."""
    with torch.device("meta"):
        network = networks.build("resunet", in_channels=2)
    assert sum(one.numel() for one in network.parameters()) == 120_738_513
    assert network.multiple == 32


def test_the_number_of_parameters_is_that_of_the_layers():
    """By hand, from systems of equations no layer of torch takes part in: kernels, biases, two a channel of norm."""

    def convolution(inputs, outputs, side):
        return inputs * outputs * side**3 + outputs

    def block(inputs, outputs):
        first, second = convolution(inputs, outputs, 3), convolution(outputs, outputs, 3)
        return first + second + 4 * outputs + convolution(inputs, outputs, 1)

    strided = sum(convolution(width, width, 4) + 2 * width for width in (4, 8, 8))
    down = block(3, 4) + block(4, 8) + block(8, 8) + block(8, 8)
    up = block(8, 8) + block(8, 8) + block(8 + 8, 8) + block(4 + 8, 4)  # the deepest has its strided output alone
    network = networks.build("resunet", in_channels=3, out_channels=2, **SMALL)
    expected = down + up + 2 * strided + convolution(4, 2, 1)
    assert sum(one.numel() for one in network.parameters()) == expected


def test_the_layers_are_the_published_ones():
    network = networks.build("resunet", in_channels=2, **SMALL).network
    for kind in (nn.Conv3d, nn.ConvTranspose3d):
        strided = [m for m in network.modules() if isinstance(m, kind) and m.stride == (2, 2, 2)]
        assert len(strided) == 3 and {m.kernel_size for m in strided} == {(4, 4, 4)}
    norms = [m for m in network.modules() if isinstance(m, nn.GroupNorm)]
    assert norms and all(m.num_groups == m.num_channels for m in norms)
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.01}


def test_no_skip_at_full_size():
    """What the last decoder block sees is at half the size: nothing else reaches the head than through the last up."""
    network = networks.build("resunet", in_channels=1, **SMALL).network
    sizes = []
    for block in network.decoder:
        block.register_forward_hook(lambda _module, inputs, _output: sizes.append(inputs[0].shape[2]))
    network(torch.rand(1, 1, 16, 16, 16))
    assert sizes == [2, 4, 8]


@pytest.mark.parametrize("out_channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1, 1), (19, 23, 7), (16, 8, 8)])
def test_any_size_comes_back_and_the_gradient_reaches_every_parameter(size, out_channels):
    torch.manual_seed(0)
    network = networks.build("resunet", in_channels=2, out_channels=out_channels, **SMALL)
    logits = network(torch.rand(1, 2, *size))
    assert logits.shape == (1, out_channels, *size) and torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, one in network.named_parameters() if one.grad is None] == []


def test_a_recipe_trains(train_two_steps):
    losses = train_two_steps("resunet", SMALL)
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature": [4]}, "unknown key 'feature'; did you mean 'features'"),
        ({"blocks": [1, 1]}, "network resunet: features=[16, 64, 128, 256, 512] and blocks=[1, 1]: expected two lists"),
        ({"features": [], "blocks": []}, "network resunet: features=[] and blocks=[]: expected two lists"),
        ({"features": [4, 0], "blocks": [1, 1]}, "features.1: Input should be greater than 0"),
    ],
)
def test_options_are_checked_before_anything_is_built(options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options("resunet", options)
    assert message in str(caught.value) and "\n" not in str(caught.value)
