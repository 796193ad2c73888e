"""What the papers print, number by number, against the recipes that claim to follow them."""

import pytest
from pydantic import BaseModel

from multifocal import losses, recipes

# Usman, Haseeb, Syed 2025: figure 1, sections 2 and 3.2.2.
USMAN = {
    "preprocessing.kind": "resize",
    "preprocessing.size": (192, 192, 32),
    "preprocessing.interpolation": "linear",
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.0.zscore": "image",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.zscore": "image",
    "augmentation.noise.p": 0.5,
    "augmentation.noise.mean": 0.0,
    "augmentation.noise.std": (0.0, 0.01),
    "augmentation.anisotropy.p": 0.5,
    "augmentation.anisotropy.downsampling": (1.2, 2.0),
    "augmentation.blur.p": 0.5,
    "augmentation.blur.std": (0.0, 0.5),
    "augmentation.gamma.p": 0.5,
    "augmentation.gamma.log_gamma": (-0.1, 0.1),
    "augmentation.elastic.p": 0.5,
    "augmentation.affine": None,
    "augmentation.flip": None,
    "network.name": "unet3d",
    "network.options.norm": "batch",
    "network.init": "default",
    "loss.name": "tversky-hausdorff",
    "optimizer.name": "adamw",
    "optimizer.lr": 1e-3,
    "optimizer.weight_decay": 1e-3,
    "optimizer.l1": 1e-4,
    "optimizer.clip": 1.0,
    "schedule.name": "exponential",
    "schedule.gamma": 0.9,
    "training.epochs": 100,
    "training.batch_size": 4,
    "training.patience": 10,
}

# Rao et al., MICCAI 2025: sections 3.1, 3.2 and 3.4.
RAO = {
    "preprocessing.kind": "resize",
    "preprocessing.size": (256, 256, None),
    "preprocessing.interpolation": "nearest",
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.0.clip": (0.0, None),
    "preprocessing.channels.0.range": (0.0, 3400.0),
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.range": (-10.0, 10.0),
    "preprocessing.channels.2.map": "zadc",
    "preprocessing.channels.2.below": -2.0,
    "augmentation.noise": None,
    "augmentation.elastic": None,
    "augmentation.affine": None,
    "network.name": "unetpp",
    "network.options.encoder": "inceptionv4",
    "network.options.attention": "scse",
    "network.init": "xavier",
    "loss.name": "tlhf",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-4,
    "optimizer.weight_decay": 0.0,
    "optimizer.l1": 0.0,
    "optimizer.clip": None,
    "schedule.name": "plateau",
    "training.batch_size": 16,
    "inference.threshold": 0.35,
}


@pytest.mark.parametrize(("name", "printed"), [("hie-unet3d-2025", USMAN), ("hie-sparseg-2025", RAO)])
def test_every_printed_number(name, printed):
    recipe = recipes.load(name)
    found = {key: _at(recipe, key) for key in printed}
    assert found == printed
    assert len(recipe.preprocessing.channels) == len({key.split(".")[2] for key in printed if ".channels." in key})


def test_three_levels_and_dropout_that_rises_with_depth():
    options = recipes.load("hie-unet3d-2025").network.options
    assert len(options["features"]) == 3 + 1
    assert 0 < options["dropout"][0] < options["dropout"][1] < options["dropout"][2] < options["dropout"][3]


def test_the_ranges_of_75_to_100_epochs_and_a_patience_of_15_to_20():
    training = recipes.load("hie-sparseg-2025").training
    assert 75 <= training.epochs <= 100
    assert 15 <= training.patience <= 20


def test_the_threshold_is_the_best_of_bao_2025():
    assert recipes.load("zadc-threshold").below == -2.0


def test_nnunet_is_as_it_comes_at_1_mm():
    recipe = recipes.load("hie-nnunet-2023")
    assert (recipe.epochs, recipe.iterations, recipe.validation_iterations, recipe.step_size) == (1000, 250, 50, 0.5)
    assert (recipe.loss, recipe.mirroring, recipe.configuration) == (None, True, "3d_fullres")
    assert recipe.spacing == (1.0, 1.0, 1.0) and recipe.trainer == "nnUNetTrainer"


def test_sam2_has_the_boxes_of_the_same_threshold_and_a_grey_image_three_times():
    recipe = recipes.load("hie-sam2-zeroshot")
    assert (recipe.candidates.below, recipe.candidates.min_size_voxels, recipe.candidates.margin) == (-2.0, 4, 1)
    assert len(set(map(str, recipe.channels))) == 1 and recipe.channels[0].range == (0.0, 2000.0)
    assert recipe.download is False and recipe.answer == "model"


def test_the_weights_of_the_losses():
    assert losses.build("tversky-hausdorff").weights == {"tversky": 0.9, "log-hausdorff-dt": 0.1}
    assert losses.build("dice-focal-hausdorff").weights == {"dice": 0.45, "focal": 0.45, "log-hausdorff-dt": 0.1}
    assert losses.build("tlhf").weights == {"tversky": 1.5, "log-hausdorff-dt": 2.0, "focal": (2.0, 4.0)}


def _at(value, key):
    for part in key.split("."):
        if isinstance(value, BaseModel):
            value = getattr(value, part)
        else:
            value = value[int(part)] if part.isdecimal() else value[part]
    return value
