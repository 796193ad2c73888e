import math
import sys

import pytest
import torch
from torch import nn

from multifocal import networks
from multifocal.errors import UserError

SMALL = {"features": [4, 8, 8], "strides": [1, 2, 2], "blocks": [1, 1, 2]}
NAMES = ("residual-encoder-unet", "residual-encoder-unet-2d")


@pytest.fixture
def package():
    return pytest.importorskip("dynamic_network_architectures", reason="extra nnunet-architectures is not installed")


@pytest.mark.parametrize("name", NAMES)
def test_any_size_comes_back_and_the_gradient_reaches_every_parameter(name, package):
    torch.manual_seed(0)
    network = networks.build(name, in_channels=2, out_channels=3, **SMALL)
    size = (9, 7, 3)[: networks.dimensions(name)]
    logits = network(torch.rand(1, 2, *size))
    assert network.multiple == 4 and logits.shape == (1, 3, *size) and torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, one in network.named_parameters() if one.grad is None] == []
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 2, *[1] * len(size))).shape == (1, 3, *[1] * len(size))


def test_the_logits_are_those_of_the_package(package):
    """The adapter changes neither weights nor arithmetic."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    torch.manual_seed(0)
    ours = networks.build("residual-encoder-unet", in_channels=2, **SMALL | {"strides": [1, 2, [2, 2, 1]]}).eval()
    theirs = ResidualEncoderUNet(
        2, 3, (4, 8, 8), nn.Conv3d, 3, ((1, 1, 1), (2, 2, 2), (2, 2, 1)), (1, 1, 2), 1, (1, 1), True,
        nn.InstanceNorm3d, {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True}
    ).eval()  # fmt: skip
    kept = theirs.load_state_dict(ours.network.state_dict(), strict=False)
    assert not kept.unexpected_keys and all("seg_layers.0" in key for key in kept.missing_keys)
    images = torch.rand(1, 2, 8, 12, 4)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name, package, train_two_steps):
    losses = train_two_steps(name, SMALL)
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature": [4]}, "unknown key 'feature'; did you mean 'features'"),
        ({"blocks": [1, 1]}, "blocks=[1, 1]: expected lists of one length, at least 2"),
        ({"strides": [2, 2, 2, 2, 2, 2]}, "strides=[2, 2, 2, 2, 2, 2]: expected the first to be 1"),
        ({**SMALL, "kernel_size": [3, 2, 3]}, "kernel_size=[3, 2, 3]: expected odd numbers; even ones shift the image"),
        ({"blocks": [1, 1, 1, 1, 1, 0]}, "blocks.5: Input should be greater than 0"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked_before_anything_is_built(name, options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options(name, options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_strides_of_other_axes():
    with pytest.raises(UserError, match=r"strides=\[1, 2, \[2, 2, 1\]\]: expected one number, or 2, of each stage"):
        networks.build("residual-encoder-unet-2d", in_channels=1, **SMALL | {"strides": [1, 2, [2, 2, 1]]})


def test_the_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures", None)
    for name in [name for name in sys.modules if name.startswith("dynamic_network_architectures.")]:
        monkeypatch.delitem(sys.modules, name)
    message = (
        "network residual-encoder-unet: this needs dynamic_network_architectures.*: pip install 'multifocal.nnunet-a"
    )
    with pytest.raises(UserError, match=message) as caught:
        networks.build("residual-encoder-unet", in_channels=1)
    assert "\n" not in str(caught.value)
