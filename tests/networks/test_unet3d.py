import pytest
import torch
from torch import nn

from multifocal import networks

SMALL = {"features": (4, 8, 8, 16), "dropout": (0.1, 0.2, 0.3, 0.4)}


def small(**options):
    torch.manual_seed(0)
    return networks.build("unet3d", in_channels=2, **(SMALL | options))


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("size", [(1, 1, 1), (8, 8, 8), (3, 1, 17), (9, 16, 7), (2, 40, 1)])
def test_any_size_comes_back_in_training_and_in_prediction(norm, size):
    network = small(norm=norm)
    for mode in (True, False):
        logits = network.train(mode)(torch.rand(1, 2, *size))
        assert logits.shape == (1, 1, *size)
        assert torch.isfinite(logits).all()


def test_the_number_of_parameters_is_that_of_the_layers():
    """By hand: 3×3×3 convolutions without bias, batch norm 2 a feature, 2×2×2 transposed convolutions with bias."""
    widths = [2, 32, 64, 128, 256]

    def double(inputs, outputs):
        return 27 * outputs * (inputs + outputs) + 2 * 2 * outputs

    down = sum(double(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
    up = sum(8 * 2 * w * w + w + double(2 * w, w) for w in widths[1:-1])
    head = 32 + 1
    network = networks.build("unet3d", in_channels=2)
    assert sum(p.numel() for p in network.parameters()) == down + up + head == 5_601_985


def test_the_layers_are_the_papers():
    """Section 3.2.2: three levels and a bottleneck, and what they hold."""
    network = networks.build("unet3d", in_channels=2).network
    count = {kind: sum(isinstance(m, kind) for m in network.modules()) for kind in KINDS}
    assert count == {
        nn.Conv3d: 2 * 4 + 2 * 3 + 1,
        nn.BatchNorm3d: 2 * 4 + 2 * 3,
        nn.LeakyReLU: 2 * 4 + 2 * 3,
        nn.Dropout3d: 4 + 3,
        nn.MaxPool3d: 1,
        nn.ConvTranspose3d: 3,
    }
    rates = [next(m.p for m in block.modules() if isinstance(m, nn.Dropout3d)) for block in network.encoder]
    assert rates == sorted(set(rates))
    assert network.head.kernel_size == (1, 1, 1)
    assert network.multiple == 8


KINDS = (nn.Conv3d, nn.BatchNorm3d, nn.LeakyReLU, nn.Dropout3d, nn.MaxPool3d, nn.ConvTranspose3d)


def test_a_rate_of_zero_is_no_layer():
    network = small(dropout=(0, 0, 0, 0))
    assert not any(isinstance(m, nn.Dropout3d) for m in network.modules())


def test_the_same_seed_gives_the_same_weights():
    first, second = small().state_dict(), small().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    other = networks.build("unet3d", in_channels=2, **SMALL).state_dict()
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_gradient_reaches_every_parameter(norm):
    network = small(norm=norm, dropout=(0, 0, 0, 0))
    (network(torch.rand(2, 2, 16, 8, 16)) ** 2).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_is_off_in_prediction():
    network, images = small().eval(), torch.rand(1, 2, 16, 16, 8)
    assert torch.equal(network(images), network(images))
    network.train()
    assert not torch.equal(network(images), network(images))


def test_bfloat16_and_channels_last_agree_with_plain_computing():
    network, images = small().eval(), torch.rand(1, 2, 16, 17, 9)
    with torch.no_grad():
        plain = network(images)
        last = network.to(memory_format=torch.channels_last_3d)(images.contiguous(memory_format=torch.channels_last_3d))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(images)
    assert torch.allclose(plain, last, atol=1e-4)
    assert half.dtype == torch.bfloat16
    assert torch.allclose(plain, half.float(), atol=0.05 * plain.abs().max().item())


def test_the_prior_is_what_an_untrained_network_gives_on_average():
    network = small(prior=0.01)
    assert torch.sigmoid(network.network.head.bias).item() == pytest.approx(0.01)


def test_relu_in_the_place_of_leaky_relu():
    plain, other = small(), small(activation="relu")
    assert plain.state_dict().keys() == other.state_dict().keys()
    kinds = [[type(part) for part in network.modules()] for network in (plain, other)]
    assert nn.ReLU not in kinds[0] and nn.LeakyReLU not in kinds[1]
    assert [nn.ReLU if kind is nn.LeakyReLU else kind for kind in kinds[0]] == kinds[1]
