import math

import pytest
import torch

from multifocal import networks
from multifocal.errors import UserError

SMALL = {"features": [4, 8, 8], "dropout": [0, 0, 0]}


def onet(channels=2, **options):
    torch.manual_seed(0)
    return networks.build("onet", in_channels=channels, **SMALL | options)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [(1, 1, 1), (9, 7, 3), (8, 4, 4)])
def test_any_size_comes_back_and_the_gradient_reaches_every_parameter(size, norm, attention):
    network = onet(channels=3, out_channels=2, groups=[[2], [0, 1]], norm=norm, attention=attention)
    logits = network(torch.rand(1, 3, *size))
    assert logits.shape == (1, 2, *size) and torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, one in network.named_parameters() if one.grad is None] == []


def test_each_encoder_sees_its_own_channels():
    network = onet(channels=3, groups=[[2], [0, 1]], norm="instance").eval().network
    found = []
    for encoder in network.encoders:
        encoder[-1].register_forward_hook(lambda _module, _inputs, output: found.append(output))
    images = torch.rand(1, 3, 8, 8, 8)
    with torch.no_grad():
        network(images)
        changed = images.clone()
        changed[:, 2] += torch.rand(8, 8, 8)
        network(changed)
    assert not torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])


def test_the_number_of_parameters_is_that_of_the_layers():
    """By hand: two encoders of one channel, features of both at each skip and in the bottleneck, one decoder."""

    def double(inputs, outputs):
        return 27 * outputs * (inputs + outputs) + 2 * 2 * outputs

    encoder = double(1, 4) + double(4, 8) + double(8, 8)
    up = 8 * 16 * 8 + 8 + 8 * 8 * 4 + 4
    decoder = double(8 + 2 * 8, 8) + double(4 + 2 * 4, 4)
    assert sum(one.numel() for one in onet().parameters()) == 2 * encoder + up + decoder + 4 + 1


def test_one_channel_is_a_unet():
    """With one encoder it is `unet3d`, whose weights then say the same."""
    network = onet(channels=1).eval()
    other = networks.build("unet3d", in_channels=1, **SMALL).eval()
    state = {key.replace("encoders.0", "encoder"): value for key, value in network.state_dict().items()}
    shapes = {key: value.shape for key, value in other.state_dict().items()}
    assert {key: value.shape for key, value in state.items()} == shapes
    other.load_state_dict(state)
    # The skip stands before what comes up in both.
    images = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(images), other(images), atol=1e-6)


def test_a_closed_gate_lets_no_skip_through():
    network = onet(attention=True, norm="instance").eval()
    with torch.no_grad():
        for gate in network.network.gates:
            gate.weight.weight.zero_()
            gate.weight.bias.fill_(-1000.0)
    seen = []
    network.network.decoder[0].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.no_grad():
        network(torch.rand(1, 2, 8, 8, 8))
    skip, coming = seen[0].split([8, 4], dim=1)
    assert skip.abs().max() == 0 and coming.abs().max() > 0


@pytest.mark.parametrize("attention", [False, True])
def test_a_recipe_trains(train_two_steps, attention):
    losses = train_two_steps("onet", SMALL | {"attention": attention})
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attentoin": True}, "unknown key 'attentoin'; did you mean 'attention'"),
        ({"features": [4, 8]}, "network onet: features=[4, 8] and dropout=[0.0, 0.0, 0.0, 0.0]: expected two lists"),
        ({"groups": [[0], [0]]}, "network onet: groups=[[0], [0]]: expected each channel once, from 0"),
        ({"groups": [[1], [2]]}, "network onet: groups=[[1], [2]]: expected each channel once, from 0"),
        ({"groups": [[0], []]}, "groups.1: Value should have at least 1 item"),
        ({"groups": [[0], [-1]]}, "groups.1.0: Input should be greater than or equal to 0"),
    ],
)
def test_options_are_checked_before_anything_is_built(options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options("onet", options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_groups_that_are_not_the_channels():
    with pytest.raises(
        UserError, match=r"network onet: groups=\[\[0\], \[1\]\]: expected each of the 3 input channels"
    ):
        onet(channels=3, groups=[[0], [1]])
