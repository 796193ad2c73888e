"""The outputs of deep supervision, against those of the classes that have some of their own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from multifocal import networks
from multifocal.networks import DeepSupervision, downsample_target

LISTS = {"features": [4, 8, 8], "dropout": [0, 0, 0]}
SMALL = {
    "unet3d": LISTS,
    "onet": LISTS,
    "resunet": {"features": [4, 8, 8], "blocks": [1, 1, 1]},
    "dynunet": {"strides": [1, 2, [2, 2, 1]], "filters": [4, 8, 8]},
    "dynunet-2d": {"strides": [1, 2, 2, 3], "filters": [4, 8, 8, 8]},
    "basicunetplusplus": {"features": [4] * 6},
    "basicunetplusplus-2d": {"features": [4] * 6},
    "residual-encoder-unet": {"features": [4, 8, 8], "strides": [1, 2, [2, 2, 1]], "blocks": [1, 1, 1]},
    "residual-encoder-unet-2d": {"features": [4, 8, 8], "strides": [1, 2, 2], "blocks": [1, 1, 1]},
}
NEEDS = {"dynunet": "monai", "basicunetplusplus": "monai", "residual-encoder-unet": "dynamic_network_architectures"}


def built(name, **options):
    if name.removesuffix("-2d") in NEEDS:
        pytest.importorskip(NEEDS[name.removesuffix("-2d")])
    torch.manual_seed(0)
    network = networks.build(name, in_channels=2, out_channels=3, **SMALL[name], **options)
    return network, DeepSupervision(network, outputs=networks.outputs(name, SMALL[name]))


def test_every_network_with_several_outputs_is_here():
    names = {name for name in networks.names() if networks.NETWORKS[name].outputs is not None}
    assert names == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_are_as_coarse_as_they_say_and_the_gradient_reaches_every_parameter(name):
    network, heads = built(name)
    size = (17, 9, 6)[: networks.dimensions(name)]
    outputs = heads(network, torch.rand(1, 2, *size))
    assert len(outputs) == networks.outputs(name, SMALL[name]) == len(heads.strides) + 1
    for output, stride in zip(outputs, [(1,) * len(size), *heads.strides], strict=True):
        assert output.shape == (1, 3, *(math.ceil(n / s) for n, s in zip(size, stride, strict=True)))
        assert torch.isfinite(output).all()
        assert downsample_target(torch.zeros(1, 1, *size), stride).shape[2:] == output.shape[2:]
    sum((output**2).sum() for output in outputs).backward()
    for module in (network, heads):
        assert [key for key, one in module.named_parameters() if one.grad is None] == []


@pytest.mark.parametrize("name", SMALL)
def test_the_network_is_the_same_with_and_without(name):
    """Weights by the same names, the same logits, nothing left behind in it."""
    network, heads = built(name)
    images = torch.rand(1, 2, *(16, 16, 16)[: networks.dimensions(name)])
    with torch.no_grad():
        before = network.eval()(images)
        first = heads(network, images)[0]
        assert torch.equal(before, first) and torch.equal(before, network(images))
    plain = networks.build(name, in_channels=2, out_channels=3, **SMALL[name])
    assert plain.state_dict().keys() == network.state_dict().keys()
    assert not any("head" in key for key in heads.state_dict() if not key.startswith("heads."))
    assert not any(level.features._forward_hooks for level in network.network.levels)


@pytest.mark.parametrize("name", SMALL)
def test_coarse_voxels_lie_where_they_say(name):
    """An image that is padded gives the features of the same image with the padding in it."""
    network, heads = built(name)
    network, size = network.eval(), (13, 9, 7)[: networks.dimensions(name)]
    images = torch.rand(1, 2, *size)
    extra = [amount for n in reversed(size) for amount in (0, -n % network.multiple)]
    with torch.no_grad():
        for short, whole in zip(heads(network, images), heads(network, functional.pad(images, extra)), strict=True):
            assert torch.equal(short, whole[(..., *(slice(n) for n in short.shape[2:]))])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_dynunet_answers_as_monais_own_deep_supervision(dimensions):
    monai = pytest.importorskip("monai.networks.nets")
    name = "dynunet-2d" if dimensions == 2 else "dynunet"
    options = {"filters": [4, 8, 8, 8], "strides": [1, 2, 2, 2]}
    network = networks.build(name, in_channels=2, out_channels=3, **options)
    heads = DeepSupervision(network, outputs=3)
    strides = options["strides"]
    theirs = monai.DynUNet(
        dimensions, 2, 3, [3] * 4, strides, strides[1:], options["filters"], deep_supervision=True, deep_supr_num=2
    )
    theirs.load_state_dict(network.network.state_dict(), strict=False)
    for theirs_head, head in zip(theirs.deep_supervision_heads, heads.heads, strict=True):
        theirs_head.conv.conv.load_state_dict(head.state_dict())
    images = torch.rand(2, 2, *(16, 8, 8)[:dimensions])
    with torch.no_grad():
        expected = theirs.train()(images).unbind(1)  # all at full size, by the nearest voxel
        found = [functional.interpolate(one, images.shape[2:]) for one in heads(network, images)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_unetplusplus_answers_as_monais_own_deep_supervision(dimensions):
    monai = pytest.importorskip("monai.networks.nets")
    name = "basicunetplusplus-2d" if dimensions == 2 else "basicunetplusplus"
    network, heads = built(name)
    theirs = monai.BasicUNetPlusPlus(dimensions, 2, 3, features=(4,) * 6, deep_supervision=True)
    theirs.load_state_dict(network.network.state_dict(), strict=False)
    for number, head in zip((3, 2, 1), heads.heads, strict=True):
        getattr(theirs, f"final_conv_0_{number}").load_state_dict(head.state_dict())
    images = torch.rand(1, 2, *(32, 16, 16)[:dimensions])
    with torch.no_grad():
        for one, other in zip(heads(network.eval(), images), reversed(theirs.eval()(images)), strict=True):
            torch.testing.assert_close(one, other)


def test_the_residual_encoder_answers_as_the_packages_own_deep_supervision():
    architectures = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    network, heads = built("residual-encoder-unet")
    theirs = architectures.ResidualEncoderUNet(
        2, 3, (4, 8, 8), nn.Conv3d, 3, ((1, 1, 1), (2, 2, 2), (2, 2, 1)), (1, 1, 1), 3, (1, 1), True,
        nn.InstanceNorm3d, {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True}, True
    )  # fmt: skip
    theirs.load_state_dict(network.network.state_dict(), strict=False)
    theirs.decoder.seg_layers[0].load_state_dict(heads.heads[0].state_dict())
    images = torch.rand(1, 2, 8, 8, 4)
    with torch.no_grad():
        for one, other in zip(heads(network, images), theirs(images), strict=True):
            torch.testing.assert_close(one, other)


def test_the_prior_is_that_of_every_head():
    network = networks.build("unet3d", in_channels=1, prior=0.01, **LISTS)
    heads = DeepSupervision(network, outputs=2, prior=0.01)
    assert torch.sigmoid(heads.heads[0].bias).item() == pytest.approx(0.01)


def test_more_outputs_than_there_are():
    network = networks.build("unet3d", in_channels=1, **LISTS)
    with pytest.raises(ValueError, match="3 outputs of a network that has 2"):
        DeepSupervision(network, outputs=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 11), st.integers(1, 5)), min_size=2, max_size=3), st.randoms())
def test_a_coarser_target_is_the_voxel_at_each_centre(axes, chance):
    size, stride = zip(*axes, strict=True)
    chance = torch.Generator().manual_seed(chance.randrange(2**31))
    target = torch.randint(0, 256, (2, 1, *size), generator=chance, dtype=torch.uint8)
    found = downsample_target(target, stride)
    assert found.dtype == target.dtype and set(found.unique().tolist()) <= set(target.unique().tolist())
    if all(n % s == 0 for n, s in axes):  # torch's own nearest, which takes the centre, where sizes are multiples
        coarse = [n // s for n, s in axes]
        expected = functional.interpolate(target.float(), coarse, mode="nearest-exact")
        assert torch.equal(found.float(), expected)
    for index in [tuple(0 for _ in axes), tuple(math.ceil(n / s) - 1 for n, s in axes)]:
        at = tuple(min(i * s + s // 2, n - 1) for i, (n, s) in zip(index, axes, strict=True))
        assert torch.equal(found[(..., *index)], target[(..., *at)])
