import sys

import pytest
import torch

from multifocal import networks
from multifocal.errors import UserError


@pytest.fixture(scope="module")
def smp():
    return pytest.importorskip("segmentation_models_pytorch", reason="the extra smp is not installed")


def test_any_size_comes_back(smp):
    network = networks.build("unetpp", in_channels=3, encoder="resnet18", depth=3).eval()
    assert network.multiple == 8
    with torch.no_grad():
        for size in ((1, 1), (8, 8), (19, 34)):
            assert network(torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_the_papers_network(smp):
    """Inception-v4 encoder, scSE in every decoder block, three channels in, random weights."""
    torch.manual_seed(0)
    network = networks.build("unetpp", in_channels=3).eval()
    assert network.multiple == 32
    assert type(network.network.encoder).__name__ == "InceptionV4Encoder"
    names = [type(module).__name__ for module in network.network.decoder.modules()]
    assert names.count("SCSEModule") == 2 * names.count("DecoderBlock") > 0
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 33, 40))
    assert logits.shape == (1, 1, 33, 40)
    assert torch.isfinite(logits).all()


def test_without_attention(smp):
    network = networks.build("unetpp", in_channels=1, encoder="resnet18", depth=3, attention=None)
    assert "SCSEModule" not in [type(module).__name__ for module in network.modules()]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("inception4", "unknown encoder 'inception4'; did you mean 'inceptionv4'"),
        ("tu-nope", "unknown encoder 'tu-nope'"),
        ("mit_b0", "network unetpp: .*mit_b0"),
    ],
)
def test_an_encoder_that_cannot_be(encoder, message, smp):
    with pytest.raises(UserError, match=message):
        networks.build("unetpp", in_channels=1, encoder=encoder)


def test_the_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(UserError, match=r"needs segmentation_models_pytorch: pip install 'multifocal\[smp\]'"):
        networks.build("unetpp", in_channels=1)


def test_a_torchvision_that_does_not_fit_torch(monkeypatch, tmp_path):
    (tmp_path / "segmentation_models_pytorch.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.delitem(sys.modules, "segmentation_models_pytorch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"torchvision does not fit the installed torch \(operator torchvision::nms"):
        networks.build("unetpp", in_channels=1)
