import math

import pytest
import torch
from torch import nn

from multifocal import networks
from multifocal.errors import UserError
from multifocal.networks import NETWORKS, start_from_prior

SMALL = {
    "segresnet": {"blocks_down": [1, 1], "blocks_up": [1]},
    "attentionunet-2d": {"channels": [4, 8], "strides": [2]},
    "dynunet": {"strides": [1, 2, 2], "filters": [4, 8, 8]},
    "basicunetplusplus-2d": {"features": [4] * 6},
    "vnet-2d": {},
    "unetr-2d": {"img_size": 32, "feature_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_heads": 2},
    "swinunetr-2d": {"feature_size": 12, "depths": [1] * 4, "num_heads": [1, 1, 2, 2]},
    **{
        f"smp-{name}": {"encoder": "resnet18", "depth": 3}
        for name in ("unet", "unetplusplus", "manet", "linknet", "fpn", "pspnet", "upernet", "segformer")
        + ("deeplabv3", "deeplabv3plus", "pan")
    },
    "smp-dpt": {"encoder": "tu-vit_tiny_patch16_224", "decoder_fusion_channels": 16},
    "unetpp": {"encoder": "resnet18", "depth": 3},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_the_logits_move_by_the_bias_of_the_head(name, channels):
    """What the bias is set to is what is added to every logit: it is the head's."""
    pytest.importorskip("monai")
    pytest.importorskip("segmentation_models_pytorch")
    found = []
    for prior in (0.5, 0.01):  # log odds 0 and -4.6
        torch.manual_seed(0)
        network = networks.build(name, in_channels=2, out_channels=channels, prior=prior, **SMALL[name]).eval()
        images = torch.rand(1, 2, *(32,) * networks.dimensions(name))
        with torch.no_grad():
            found.append(network(images))
    assert torch.allclose(found[1] - found[0], torch.tensor(math.log(0.01 / 0.99)), atol=1e-3)


def test_the_residual_unet_starts_near_it():
    pytest.importorskip("monai")
    torch.manual_seed(0)
    network = networks.build("monai-unet", in_channels=1, prior=0.01, channels=[4, 8], strides=[2]).eval()
    with torch.no_grad():
        assert torch.sigmoid(network(torch.rand(1, 1, 8, 8, 8))).median().item() < 0.05


def test_without_it_the_weights_are_as_before():
    first, second = [], []
    for found, options in ((first, {}), (second, {"prior": None})):
        torch.manual_seed(0)
        found.extend(networks.build("unet3d", in_channels=1, features=[2, 4], dropout=[0, 0], **options).parameters())
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (nn.Conv2d(1, 1, 1, bias=False), "the head has no bias; leave prior out"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten()), "the head is missing: no convolution has 1 outputs; leave"),
        (nn.Identity(), "the head is missing: no convolution has 1 outputs; leave prior out"),
    ],
)
def test_no_head_to_be_found(network, found, monkeypatch):
    with pytest.raises(ValueError, match=f"^prior=0.1: {found}"):
        start_from_prior(network, 0.1)
    networks.names()
    monkeypatch.setattr(NETWORKS, "_things", dict(NETWORKS._things))

    @networks.register("headless", dimensions=2)
    def headless(*, in_channels: int, out_channels: int) -> nn.Module:
        network.multiple = 1
        return network

    with pytest.raises(UserError, match=f"^network headless: prior=0.1: {found}"):
        networks.build("headless", in_channels=1, prior=0.1)


@pytest.mark.parametrize("name", ["unet3d", "unetpp", "segresnet", "smp-unet"])
def test_it_is_an_option_of_every_network(name):
    assert networks.options(name)["prior"] is None
    with pytest.raises(UserError, match=f"options of network {name}: prior: Input should be less than 1, found 1.5"):
        networks.check_options(name, {"prior": 1.5})
    with pytest.raises(UserError, match="unknown key 'priors'; did you mean 'prior'"):
        networks.check_options(name, {"priors": 0.5})
    with pytest.raises(UserError, match="prior: Input should be greater than 0"):
        networks.build(name, in_channels=1, prior=0.0)


def test_of_a_trained_network_it_is_no_matter():
    assert networks.lasting("segresnet", {"prior": 0.01, "init_filters": 8}) == {"init_filters": 8}
    assert networks.lasting("unet3d", {"prior": 0.01}) == {"prior": 0.01}  # its own
