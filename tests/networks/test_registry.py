import pytest
import torch
from torch import nn

from multifocal import networks
from multifocal.errors import UserError
from multifocal.networks import NETWORKS


def test_names_dimensions_and_descriptions():
    assert {"unet3d", "unetpp", "segresnet", "segresnet-2d"} <= set(networks.names())
    assert list(networks.names()) == sorted(networks.names())
    assert [networks.dimensions(name) for name in ("unet3d", "unetpp", "segresnet", "segresnet-2d")] == [3, 2, 3, 2]
    assert networks.describe("unet3d").startswith("3D U-Net")
    assert all("\n" not in networks.describe(name) for name in networks.names())


@pytest.mark.parametrize("function", [networks.describe, networks.dimensions])
def test_an_unknown_name(function):
    with pytest.raises(UserError, match="unknown network 'unet3'; did you mean 'unet3d'"):
        function("unet3")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet3d", {"feature": [8]}, "options of network unet3d: unknown key 'feature'; did you mean 'features'"),
        ("unet3d", {"in_channels": 3}, "unknown key 'in_channels'"),
        ("unet3d", {"features": [8, 0]}, "features.1: Input should be greater than 0, found 0"),
        ("unet3d", {"features": [8, 8.5]}, "features.1: Input should be a valid integer, found 8.5"),
        ("unet3d", {"features": "88"}, "features: Input should be a list, found '88'"),
        ("unet3d", {"dropout": [0, 1]}, "dropout.1: Input should be less than 1, found 1"),
        ("unet3d", {"norm": "group"}, "norm: Input should be 'batch' or 'instance', found 'group'"),
        ("unet3d", {"prior": 0}, "prior: Input should be greater than 0"),
        ("unetpp", {"depth": 9}, "depth: Input should be less than or equal to 5"),
        ("unetpp", {"attention": "scs"}, "attention: Input should be 'scse', found 'scs'"),
        ("unetpp", {"encoders": "resnet18"}, "unknown key 'encoders'; did you mean 'encoder'"),
    ],
)
def test_options_are_checked_before_anything_is_built(name, options, message):
    with pytest.raises(UserError) as caught:
        networks.check_options(name, options)
    assert message in str(caught.value)


def test_options_that_do_not_fit_together():
    with pytest.raises(UserError, match=r"network unet3d: features=\[8, 16\] and dropout=\[0.1\]"):
        networks.build("unet3d", in_channels=1, features=[8, 16], dropout=[0.1])


@pytest.mark.parametrize(
    "options", [{"features": [8, 16], "dropout": [0.1]}, {"features": [8]}, {"dropout": [0.1] * 5}]
)
def test_options_that_do_not_fit_together_are_found_without_building(options, monkeypatch):
    networks.names()
    monkeypatch.setattr(nn.Module, "__init__", None)
    with pytest.raises(
        UserError, match=r"^network unet3d: features=\[.* expected two lists of one length, at least 2$"
    ):
        networks.check_options("unet3d", options)
    with pytest.raises(UserError, match=r"^network unet3d: features=\["):
        networks.build("unet3d", in_channels=1, **options)


def test_a_check_of_ones_own(monkeypatch):
    networks.names()
    monkeypatch.setattr(NETWORKS, "_things", dict(NETWORKS._things))

    def even(*, width: int = 2) -> None:
        if width % 2:
            raise ValueError(f"width={width}: expected an even number")

    @networks.register("even", dimensions=2, check=even)
    def build(*, in_channels: int, out_channels: int, width: int = 2) -> nn.Module:
        raise AssertionError

    networks.check_options("even", {})
    with pytest.raises(UserError, match="^network even: width=3: expected an even number$"):
        networks.check_options("even", {"width": 3})
    with pytest.raises(UserError, match="options of network even: width: Input should be a valid integer"):
        networks.check_options("even", {"width": "3"})


def test_a_network_of_ones_own_and_no_name_twice(monkeypatch):
    networks.names()
    monkeypatch.setattr(NETWORKS, "_things", dict(NETWORKS._things))

    @networks.register("mean", dimensions=3)
    class Mean(nn.Module):
        """The mean of the channels."""

        multiple = 4

        def __init__(self, *, in_channels: int, out_channels: int) -> None:
            super().__init__()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert all(length % 4 == 0 for length in images.shape[2:])
            return images.mean(1, keepdim=True)

    images = torch.rand(2, 3, 5, 7, 1)
    assert torch.equal(networks.build("mean", in_channels=3)(images), images.mean(1, keepdim=True))
    with pytest.raises(ValueError, match="network name 'mean' is taken by"):
        networks.register("mean", dimensions=2)(Mean)
