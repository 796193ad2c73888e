import math

import pytest
import torch

from multifocal import networks
from multifocal.errors import UserError

pytest.importorskip("monai", reason="the extra train is not installed")

SMALL = {
    "swinunetr": {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2},
    "segresnet": {"blocks_down": [1, 1], "blocks_up": [1]},
    "attentionunet": {"channels": [4, 8, 8], "strides": [2, 2]},
    "monai-unet": {"channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 1},
    "dynunet": {"strides": [1, 2, 2], "filters": [4, 8, 8]},
    "vnet": {},
    "unetr": {"img_size": 32, "feature_size": 4, "hidden_size": 12, "mlp_dim": 12, "num_heads": 2},
    "basicunetplusplus": {"features": [4] * 6},
}
MULTIPLES = {"swinunetr": 32, "segresnet": 2, "attentionunet": 4, "monai-unet": 4, "dynunet": 4, "vnet": 16}
NAMES = [name + ending for name in SMALL for ending in ("", "-2d")]


def small(name, **options):
    torch.manual_seed(0)
    return networks.build(name, in_channels=2, **SMALL[name.removesuffix("-2d")] | options)


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_come_back_and_the_gradient_reaches_every_parameter(name):
    network = small(name)
    assert networks.dimensions(name) == (2 if name.endswith("-2d") else 3)
    assert network.multiple == MULTIPLES.get(name.removesuffix("-2d"), 16)
    size = (19, 23, 7)[: networks.dimensions(name)]
    logits = network(torch.rand(1, 2, *size))
    assert logits.shape == (1, 1, *size)
    assert torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 2, *[1] * len(size))).shape == (1, 1, *[1] * len(size))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("vnet", "swinunetr")])
def test_a_recipe_trains(name, train_two_steps):
    losses = train_two_steps(name, SMALL[name.removesuffix("-2d")])
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vnet", "swinunetr"])
def test_a_recipe_of_a_large_one_trains(name, train_two_steps):
    losses = train_two_steps(name, SMALL[name])
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("swinunetr", {"feature_sise": 12}, "unknown key 'feature_sise'; did you mean 'feature_size'? Choose from: "),
        ("swinunetr", {"in_channels": 3}, "options of network swinunetr: unknown key 'in_channels'"),
        ("swinunetr-2d", {"spatial_dims": 3}, "options of network swinunetr-2d: unknown key 'spatial_dims'"),
        ("swinunetr", {"patch_size": 4}, "unknown key 'patch_size'"),
        ("segresnet", {"init_filter": 8}, "unknown key 'init_filter'; did you mean 'init_filters'"),
        ("segresnet", {"blocks_up": [1]}, "network segresnet: blocks_down=[1, 2, 2, 4] and blocks_up=[1]: expected"),
        ("attentionunet", {"chanels": [4, 8]}, "unknown key 'chanels'; did you mean 'channels'"),
        ("attentionunet", {"channels": [4, 8]}, "network attentionunet: channels=[4, 8] and strides=[2, 2, 2, 2]: exp"),
        ("attentionunet", {"channels": [4, 0]}, "channels.1: Input should be greater than 0"),
        ("monai-unet", {"num_res_unit": 1}, "unknown key 'num_res_unit'; did you mean 'num_res_units'"),
        ("monai-unet", {"kernel_size": 2}, "network monai-unet: kernel_size=2: expected odd numbers"),
        ("dynunet", {"filter": [4, 8, 8]}, "unknown key 'filter'; did you mean 'filters'"),
        ("dynunet", {"deep_supervision": True}, "unknown key 'deep_supervision'"),
        ("dynunet", {"strides": [2, 2, 2]}, "network dynunet: strides=[2, 2, 2]: expected at least 3, the first"),
        ("dynunet", {"kernel_size": [3, 3]}, "expected two lists of one length"),
        ("vnet", {"dropout_prob_dow": 0.1}, "unknown key 'dropout_prob_dow'; did you mean 'dropout_prob_down'"),
        ("unetr", {"image_size": 32}, "unknown key 'image_size'; did you mean 'img_size'"),
        ("unetr", {"img_size": [96, 96, 40]}, "network unetr: img_size=[96, 96, 40]: expected multiples of 16"),
        ("basicunetplusplus", {"feature": [4] * 6}, "unknown key 'feature'; did you mean 'features'"),
        ("basicunetplusplus", {"features": [4] * 5}, "features: Value should have at least 6 items"),
    ],
)
def test_options_are_checked_before_anything_is_built(name, options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options(name, options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("swinunetr", 1, {"feature_size": 10}, "network swinunetr: feature_size should be divisible by 12"),
        ("vnet", 3, {}, "network vnet: takes 1, 2, 4, 8 or 16 channels, found 3"),
        ("segresnet", 1, {"norm": "nope"}, "network segresnet: "),
        ("dynunet-2d", 1, {"strides": [1, [2, 2, 1], 2]}, r"network dynunet-2d: strides=\[1, \[2, 2, 1\], 2\]: exp"),
        ("unetr-2d", 1, {"img_size": [32, 32, 32]}, r"network unetr-2d: img_size=\[32, 32, 32\]: expected one number"),
    ],
)
def test_what_the_class_refuses_is_one_line(name, channels, options, message):
    with pytest.raises(UserError, match=message) as caught:
        networks.build(name, in_channels=channels, **options)
    assert "\n" not in str(caught.value)


def test_an_image_that_is_too_large_is_refused():
    network = small("unetr-2d", img_size=[32, 16]).eval()
    assert network(torch.rand(1, 2, 32, 16)).shape == (1, 1, 32, 16)
    with pytest.raises(UserError, match="^images of 20×17 are larger than the 32×16 that the network takes; raise"):
        network(torch.rand(1, 2, 20, 17))


def test_strides_of_thick_slices():
    network = small("dynunet", strides=[1, [2, 2, 1], 2], kernel_size=[[3, 3, 1], 3, 3])
    assert network.multiple == 4
    assert network(torch.rand(1, 2, 9, 5, 3)).shape == (1, 1, 9, 5, 3)


def test_the_logits_are_those_of_the_class():
    """The adapter changes neither weights nor arithmetic."""
    from monai.networks.nets import BasicUNetPlusPlus

    network = small("basicunetplusplus-2d").eval()
    torch.manual_seed(0)
    theirs = BasicUNetPlusPlus(spatial_dims=2, in_channels=2, out_channels=1, features=(4,) * 6).eval()
    images = torch.rand(1, 2, 32, 16)
    with torch.no_grad():
        assert torch.equal(network(images), theirs(images)[0])


def test_options_are_those_of_the_class():
    options = networks.options("monai-unet")
    assert options["num_res_units"] == 2 and options["act"] == "PRELU"
    assert not {"in_channels", "out_channels", "spatial_dims", "options"} & set(options)
