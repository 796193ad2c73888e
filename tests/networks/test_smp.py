import math
import pickle
import sys

import pytest
import torch

from multifocal import networks, recipes
from multifocal.errors import UserError
from multifocal.weights import write_weights

pytest.importorskip("segmentation_models_pytorch", reason="the extra smp is not installed")

SMALL = {"encoder": "resnet18", "depth": 3}
VIT = {
    "encoder": "tu-vit_tiny_patch16_224",
    "decoder_intermediate_channels": [8, 8, 8],
    "decoder_fusion_channels": 16,
    "depth": 3,
}
NAMES = [name for name in networks.names() if name.startswith("smp-")]


def test_the_names():
    decoders = "deeplabv3 deeplabv3plus dpt fpn linknet manet pan pspnet segformer unet unetplusplus upernet"
    assert [f"smp-{name}" for name in decoders.split()] == NAMES


@pytest.mark.parametrize("depth", [3, 4, 5])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "smp-dpt"])
def test_odd_sizes_come_back_and_the_gradient_reaches_every_parameter(name, depth):
    torch.manual_seed(0)
    network = networks.build(name, in_channels=2, **SMALL | {"depth": depth})
    assert networks.dimensions(name) == 2 and network.multiple == (
        8 * min(2**depth, 16) if name == "smp-pan" else 2**depth
    )
    logits = network(torch.rand(1, 2, 39, 70))  # one image: nothing may ask for the variance of one value
    assert logits.shape == (1, 1, 39, 70)
    assert torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, one in network.named_parameters() if one.requires_grad and one.grad is None] == []
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 2, 1, 1)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize(("depth", "multiple"), [(1, 16), (3, 16), (4, 32)])
def test_dpt_looks_at_several_layers_of_a_transformer(depth, multiple):
    options = VIT | {"depth": depth, "decoder_intermediate_channels": [8] * depth}
    network = networks.build("smp-dpt", in_channels=2, out_channels=3, **options)
    assert network.multiple == multiple
    logits = network(torch.rand(2, 2, 39, 70))
    assert logits.shape == (2, 3, 39, 70) and torch.isfinite(logits).all()
    (logits**2).sum().backward()
    assert [key for key, one in network.named_parameters() if one.requires_grad and one.grad is None] == []


def test_dpt_takes_pretrained_weights_of_a_file(tmp_path):
    build = networks.NETWORKS["smp-dpt"].builder
    torch.manual_seed(1)
    encoder = build(in_channels=3, out_channels=1, **VIT).encoder
    write_weights(tmp_path / "vit.safetensors", encoder.state_dict())
    network = networks.build("smp-dpt", in_channels=1, weights=str(tmp_path / "vit.safetensors"), **VIT).network
    known, found = (one.model.patch_embed.proj.weight for one in (encoder, network.encoder))
    assert torch.allclose(found, known.sum(1, keepdim=True), atol=1e-6)
    assert torch.equal(network.encoder.model.pos_embed, encoder.model.pos_embed)


@pytest.mark.parametrize(("depth", "stride"), [(5, 16), (5, 32), (4, 16)])
def test_pan_takes_the_stride_of_its_encoder(depth, stride):
    options = {"encoder": "resnet18", "depth": depth, "encoder_output_stride": stride}
    network = networks.build("smp-pan", in_channels=1, **options)
    assert network.multiple == 8 * stride
    assert network(torch.rand(2, 1, 39, 40)).shape == (2, 1, 39, 40)


@pytest.mark.parametrize("name", ["smp-segformer", "smp-unet", "smp-fpn"])
def test_an_encoder_of_patches(name):
    network = networks.build(name, in_channels=1, encoder="mit_b0")
    assert network.multiple == 32 and network(torch.rand(1, 1, 5, 40)).shape == (1, 1, 5, 40)


def test_an_encoder_of_timm():
    network = networks.build("smp-unet", in_channels=1, encoder="tu-resnet10t")
    assert network(torch.rand(1, 1, 5, 40)).shape == (1, 1, 5, 40)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains(name, train_two_steps):
    losses = train_two_steps(name, VIT if name == "smp-dpt" else SMALL)
    assert len(losses) == 2 and all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *((name, {"encodr": "resnet18"}, "unknown key 'encodr'; did you mean 'encoder'") for name in NAMES),
        ("smp-unet", {"encoder": "resnet17"}, "unknown encoder 'resnet17'; did you mean 'resnet1"),
        (
            "smp-unet",
            {"encoder": "tu-resnet10"},
            "network smp-unet: unknown encoder 'tu-resnet10' of timm; did ",
        ),
        ("smp-unet", {"depth": 6}, "depth: Input should be less than or equal to 5"),
        ("smp-dpt", {"depth": 5}, "depth: Input should be less than or equal to 4"),
        ("smp-dpt", {"encoder": "resnet18"}, "network smp-dpt: encoder 'resnet18' is no vision transformer of timm; c"),
        ("smp-dpt", {"encoder": "tu-vit_tini"}, "network smp-dpt: unknown encoder 'tu-vit_tini' of timm; did you mea"),
        ("smp-unet", {"classes": 2}, "unknown key 'classes'"),
        ("smp-unet", {"decoder_chanels": [8]}, "unknown key 'decoder_chanels'; did you mean 'decoder_channels'"),
        ("smp-fpn", {"upsampling": 2}, "unknown key 'upsampling'"),
        (
            "smp-unet",
            {"weights": "imagenot"},
            "unknown weights of encoder resnet34 'imagenot'; did you mean 'imag",
        ),
        ("smp-unet", {"encoder": "tu-resnet10t", "weights": "imagenet"}, "for timm's encoders give the path of a saf"),
    ],
)
def test_options_are_checked_before_anything_is_built(name, options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options(name, options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smp-linknet", {"encoder": "mit_b0"}, "network smp-linknet: .*mit_b0"),
        ("smp-unet", {"decoder_channels": [8, 8]}, "network smp-unet: "),
        ("smp-unet", {"weights": "not/there.safetensors"}, "there.safetensors"),
    ],
)
def test_what_the_class_refuses_is_one_line(name, options, message):
    with pytest.raises(UserError, match=message) as caught:
        networks.build(name, in_channels=1, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def pretrained(tmp_path):
    from segmentation_models_pytorch.encoders import get_encoder

    torch.manual_seed(1)
    encoder = get_encoder("resnet18", in_channels=3, depth=3, weights=None)
    write_weights(tmp_path / "encoder.safetensors", encoder.state_dict())
    return encoder, str(tmp_path / "encoder.safetensors")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pretrained_weights_of_a_file(pretrained, channels):
    encoder, file = pretrained
    network = networks.build("smp-unet", in_channels=channels, weights=file, **SMALL).network
    assert torch.equal(network.encoder.layer1[0].conv1.weight, encoder.layer1[0].conv1.weight)
    first, known = network.encoder.conv1.weight, encoder.conv1.weight
    assert first.shape[1] == channels
    if channels == 3:
        assert torch.equal(first, known)
    if channels == 1:
        assert torch.allclose(first, known.sum(1, keepdim=True), atol=1e-6)


def test_weights_of_another_encoder_and_no_pickle(pretrained, tmp_path):
    with pytest.raises(UserError, match=r"encoder.safetensors: do not fit encoder resnet50"):
        networks.build("smp-unet", in_channels=1, encoder="resnet50", weights=pretrained[1])
    (tmp_path / "encoder.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(UserError, match="encoder.pth"):
        networks.build("smp-unet", in_channels=1, weights=str(tmp_path / "encoder.pth"))


def test_the_hub_is_asked_only_on_request(monkeypatch):
    asked = []

    def refuse(*names, **options):
        asked.append(names)
        raise OSError("no\nnetwork")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)
    networks.build("smp-unet", in_channels=1, **SMALL)
    assert not asked
    with pytest.raises(UserError, match=r"weights=imagenet of encoder resnet18 cannot be fetched \(no network\); give"):
        networks.build("smp-unet", in_channels=1, weights="imagenet", **SMALL)
    assert asked


def test_a_trained_network_needs_no_pretrained_weights(pretrained, train_two_steps, tmp_path):
    from pathlib import Path

    from multifocal.systems import load_model

    train_two_steps("smp-unet", SMALL | {"weights": pretrained[1]})
    Path(pretrained[1]).unlink()
    load_model(tmp_path / "run")


def test_xavier_would_overwrite_them(small_recipe):
    changes = ('network={"name": "smp-unet", "init": "xavier", "options": {"weights": "imagenet"}}',)
    with pytest.raises(UserError, match="init=xavier would overwrite the pretrained weights"):
        recipes.load(small_recipe, overrides=changes)


def test_the_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(UserError, match=r"network smp-unet: this needs segmentation_models_pytorch: pip install 'mul"):
        networks.build("smp-unet", in_channels=1)
