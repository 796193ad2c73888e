"""What a recipe's training needs of extras is missed without an import."""

import pytest

from multifocal import networks, recipes, versions
from multifocal.errors import UserError
from multifocal.systems.packages import check_packages


@pytest.fixture
def without(monkeypatch):
    """Hide a package."""
    return lambda name: monkeypatch.setattr(versions, "find_spec", lambda asked: None if asked == name else asked)


@pytest.mark.parametrize(
    ("overrides", "package", "message"),
    [
        ([], "lightning", r"training needs lightning: pip install 'multifocal\[train\]'"),
        (
            ["network={name: unetpp}"],
            "segmentation_models_pytorch",
            r"network unetpp needs segmenta.*'multifocal\[smp\]'",
        ),
        (["network={name: smp-fpn}"], "segmentation_models_pytorch", r"network smp-fpn needs .*'multifocal\[smp\]'"),
        (["network={name: segresnet}"], "monai", r"network segresnet needs monai: .*'multifocal\[train\]'"),
        (["training.loggers=[wandb]"], "wandb", r"training.loggers needs wandb: pip install 'multifocal\[wandb\]'"),
        (["training.loggers=[mlflow]"], "mlflow", r"training.loggers needs mlflow: pip install 'multifocal\[mlflow\]'"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(without, overrides, package, message):
    flat = ["inference.flips=[]", "augmentation={}"] if "unetpp" in str(overrides) or "smp" in str(overrides) else []
    recipe = recipes.load("hie-small", overrides=[*overrides, *flat])
    without("something else")
    check_packages(recipe)
    without(package)
    with pytest.raises(UserError, match=f"^{message}$"):
        check_packages(recipe)
    check_packages(recipes.load("zadc-threshold"))  # which is not trained


def test_every_network_says_what_it_is_built_with():
    """None imports another package than it says: those without one are built with what is always there."""
    found = {name: networks.package(name) for name in networks.names()}
    assert set(found.values()) <= {None, *versions.EXTRAS} and found["unet3d"] is None
