"""What the papers print, number by number, against the recipes that claim to follow them."""

from importlib.resources import files

import pytest
import torch
from pydantic import BaseModel

from multifocal import losses, recipes
from multifocal.losses.schedules import schedule

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


# Wodzinski and Müller 2023: experiments and networks of MWod/BONBID_MW_2023.
WODZINSKI = {
    "preprocessing.kind": "resize",
    "preprocessing.size": (256, 256, 128),
    "preprocessing.interpolation": "linear",
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.0.range": "image",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.range": (-10.0, 10.0),  # (z + 10) / 20
    "augmentation.anisotropy.downsampling": (1.2, 2.0),
    "augmentation.blur.std": (0.0, 0.5),
    "augmentation.affine.p": 0.5,
    "augmentation.affine.degrees": (-15.0, 15.0),
    "augmentation.affine.scales": (0.7, 1.3),
    "augmentation.affine.translations": (-15.0, 15.0),
    "augmentation.flip.p": 0.5,
    "augmentation.flip.axes": None,
    "network.name": "resunet",
    "network.options.features": [16, 64, 128, 256, 512],
    "network.options.blocks": [1, 1, 2, 2, 2],
    "loss.name": "dice-focal",
    "optimizer.name": "adamw",
    "optimizer.lr": 1e-3,
    "optimizer.weight_decay": 5e-3,
    "optimizer.clip_value": 5.0,
    "optimizer.clip": 30.0,
    "optimizer.clip_by": "norm",
    "schedule.name": "exponential",
    "schedule.gamma": 0.999,
    "training.epochs": 3001,
    "training.batch_size": 1,
    "training.accumulate": 16,
    "training.accumulation": "sum",
    "inference.threshold": 0.5,
    "inference.flips": (),
    "inference.min_size_voxels": 0,
}

# Aydin et al. 2023: paragraph S12 of the supplement.
AYDIN = {
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.0.derive.name": "reciprocal",
    "preprocessing.channels.0.derive.by": "zadc",
    "preprocessing.channels.0.derive.power": 1.5,
    "preprocessing.channels.0.derive.minimum": "slice",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.2.map": "adc",
    "augmentation.affine.p": 0.1,
    "augmentation.flip.p": 0.1,
    "network.name": "segresnet",
    "loss.name": "tversky",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-5,
}

# The probable code of Sejong_AI_team: youngwook/bonbid2024, process.py.
SEJONG = {
    "preprocessing.size": (None, None, None),
    "preprocessing.channels.0.map": "zadc",
    "preprocessing.channels.0.range": "image",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.below": -2.0,
    "preprocessing.channels.2.map": "adc",
    "preprocessing.channels.2.range": "image",
    "sampling.crop": (256, 256, 64),
    "network.name": "unet3d",
    "network.options.features": [32, 64, 128, 256, 512],
    "network.options.norm": "batch",
    "network.options.activation": "relu",
    "inference.threshold": 0.9,
    "inference.flips": (),
}

# Kazemi et al. 2023: paragraph S3 of the supplement.
KAZEMI = {
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.1.map": "zadc",
    "sampling.crop": (128, 128, 128),
    "augmentation.affine.p": 0.5,
    "augmentation.affine.rotate_about": (2,),
    "augmentation.affine.scales": (1.0, 1.0),
    "augmentation.flip.p": 0.5,
    "augmentation.flip.axes": (0,),
    "network.name": "swinunetr",
    "network.options.feature_size": 24,
    "loss.name": "dice",
    "optimizer.lr": 1e-4,
    "optimizer.weight_decay": 1e-5,
    "training.epochs": 1500,
    "training.batch_size": 1,
    "inference.window": (128, 128, 128),
    "inference.overlap": 0.0,
}

# Koirala et al. 2023: paragraph S4 of the supplement.
KOIRALA = {
    "preprocessing.channels.0.map": "adc",
    "preprocessing.channels.0.range": "image",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.range": "image",
    "loss.name": "bce-msssim-jaccard",
    "training.epochs": 400,
    "inference.threshold": 0.5,
}

# XLERATOR9 2023: paragraph S2 of the supplement.
SLICES = {
    "preprocessing.size": (256, 256, None),
    **{f"preprocessing.channels.{n}.map": name for n, name in enumerate(("adc", "zadc", "zadc"))},
    "preprocessing.channels.0.standardize": (1350.25, 428.13),
    "preprocessing.channels.1.standardize": (0.3467, 2.4878),
    "preprocessing.channels.2.standardize": (0.3467, 2.4878),
    **{f"preprocessing.channels.{n}.background": -6.0 for n in range(3)},
    "network.options.encoder": "vgg11",
    "augmentation.gamma": None,
    "augmentation.affine": None,
    "training.epochs": 30,
}
XLERATOR = {
    **SLICES,
    "loss.options.terms": [{"term": "ce"}, {"term": "dice"}, {"term": "focal", "weight": 3.0}],
    "optimizer.name": "adam",
    "optimizer.lr": 1e-4,
    "training.batch_size": 16,
}
DENOISING = {
    **SLICES,
    "training.denoise.lesion_std": 0.8,
    "training.denoise.other_std": 1.5,
    "training.denoise.gamma": 0.95,
}

# Rao et al. 2025, as Neonatal-Brain-Lesion-Segmentation/CodeBase has it.
CODE = {
    "preprocessing.size": (256, 256, None),
    "preprocessing.interpolation": "nearest",
    "preprocessing.brain": None,
    "preprocessing.channels.0.map": "zadc",
    "preprocessing.channels.0.range": "slice",
    "preprocessing.channels.1.map": "zadc",
    "preprocessing.channels.1.below": -2.0,
    "preprocessing.channels.2.map": "adc",
    "preprocessing.channels.2.clip": (0.0, 3400.0),
    "preprocessing.channels.2.range": "slice",
    "network.options.encoder": "inceptionv4",
    "network.options.attention": "scse",
    "network.init": "xavier",
    "optimizer.name": "adam",
    "optimizer.lr": 1e-4,
    "schedule.name": "constant",
    "training.batch_size": 16,
    "inference.threshold": 0.5,
}

# Rachmadi, Byra, Skibbe 2024: sections 3.1, 3.2, 3.5 and 4.5.
RACHMADI = {
    "network.name": "swinunetr-2d",
    "optimizer.name": "adam",
    "training.epochs": 200,
    "training.monitor": "dice",
    "inference.threshold": 0.5,
}
WMH = {
    **RACHMADI,
    "preprocessing.channels.0.map": "flair",
    "preprocessing.channels.0.n4": True,
    "preprocessing.channels.0.zscore": "image",
    "sampling.slices": 24,
    "training.batch_size": 2,
}
TNBC = {**RACHMADI, **{f"preprocessing.channels.{n}.map": name for n, name in enumerate(("red", "green", "blue"))}}
PRINTED = {
    "hie-unet3d-2025": USMAN,
    "hie-sparseg-2025": RAO,
    "hie-sparseg-2025-code": CODE,
    "hie-runet-2023": WODZINSKI,
    "hie-segresnet-2023": AYDIN,
    "hie-sejong-2024": SEJONG,
    "hie-swin4-2023-member": KAZEMI,
    "hie-koirala-2023-member": KOIRALA,
    "hie-ternaus-2023-member": XLERATOR,
    "hie-ternaus-2023-pretraining": DENOISING,
    "wmh-instance-2024": WMH,
    "tnbc-instance-2024": TNBC,
}
# Millions of weights that are printed, or counted in the authors' code.
COUNTED = {
    "hie-runet-2023": 120.74,
    "hie-runet-cpu": 7.57,
    "hie-segresnet-2023": 4.70,
    "hie-segresnet-cpu": 1.18,
    "hie-sejong-2024": 22.58,
    "hie-sparseg-2025": 60.85,
    "hie-sparseg-2025-code": 60.85,
}


@pytest.mark.parametrize("name", PRINTED)
def test_every_printed_number(name):
    recipe, printed = recipes.load(name), PRINTED[name]
    found = {key: _at(recipe, key) for key in printed}
    assert found == printed
    assert len(recipe.preprocessing.channels) == len({key.split(".")[2] for key in printed if ".channels." in key})


@pytest.mark.parametrize("name", COUNTED)
def test_as_many_weights_as_were_counted(name):
    with torch.device("meta"):
        network = recipes.load(name).build_network()
    assert _millions(network) == pytest.approx(COUNTED[name], abs=0.006)


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("hie-swin4-2023-member", [], 15.70),
        ("hie-swin4-2023-member", ["network.options.feature_size=48"], 62.19),  # S1 and the code of S3
        ("hie-swin4-cpu-member", [], 3.91),
        ("wmh-instance-2024", [], 6.30),
        ("tnbc-instance-2024", [], 6.30),
    ],
)
def test_as_many_weights_as_were_counted_of_transformers(name, changes, count):
    """MONAI's transformers look at values while they are built."""
    assert _millions(recipes.load(name, overrides=changes).build_network()) == pytest.approx(count, abs=0.011)


@pytest.mark.parametrize(
    ("name", "rule", "members"),
    [("hie-koirala-2023", "mean", 6), ("hie-swin4-2023", "mean", 4), ("hie-ternaus-2023", "vote", 8)],
)
def test_members_and_rule(name, rule, members):
    recipe = recipes.load(name)
    assert (recipe.combine.rule, len(recipe.members)) == (rule, members)
    own = [member for _, member in recipe.fitted]
    folds = [member.fold for member in recipe.members]
    networks = {
        (each.network.name, str(each.network.options), each.training.seed, fold)
        for each, fold in zip(own, folds, strict=True)
    }
    assert len(networks) == members  # none twice
    shared = PRINTED[f"{name}-member"]
    for member in own:
        assert {key: _at(member, key) for key in shared} == shared


def test_the_four_of_kazemi_are_four_folds():
    assert [member.fold for member in recipes.load("hie-swin4-2023").members] == [(k, 4) for k in range(4)]


def test_all_members_begin_with_one_pretraining():
    ((start, numbers),) = recipes.load("hie-ternaus-2023").shared_starts
    assert start == recipes.load("hie-ternaus-2023-pretraining") and numbers == tuple(range(8))


@pytest.mark.parametrize("name", ["hie-ternaus-2023-member", "hie-ternaus-cpu"])
def test_what_is_pretrained_is_the_same_network_on_the_same_images(name):
    then = recipes.load(name)
    assert then.start == recipes.load(f"{name.removesuffix('-member')}-pretraining")
    assert then.preprocessing == then.start.preprocessing and then.network.name == then.start.network.name
    # The prior is of the head alone.
    assert {**then.network.options, "prior": None} == {**then.start.network.options, "prior": None}


def test_exactly_one_of_sixteen_changes():
    (group,) = recipes.load("hie-sparseg-2025-code").augmentation.one_of
    assert group.p == 1 and sum(member.weight for member in group.members) == 16
    assert all(transform.p == 1 for member in group.members for transform in member.on.values())


def test_the_code_of_sparseg_weighs_its_focal_term_by_2_and_then_by_4():
    weights = {name: schedule(weight) for name, weight in _loss("hie-sparseg-2025-code").weights.items()}
    assert [weights["focal"].at(progress) for progress in (0.0, 0.49, 0.5, 1.0)] == [2, 2, 4, 4]
    assert (weights["tversky"].at(0), weights["log-hausdorff-dt"].at(0)) == (1.5, 2.0)


@pytest.mark.parametrize("name", [name for name in recipes.names() if "-cpu" in name])
def test_what_is_cut_to_a_cpu_says_that_it_is_not_the_published_one(name):
    recipe = recipes.load(name)
    assert recipe.source.startswith("after ")
    text = files("multifocal.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    text = " ".join(text.replace("\n#", "").split())
    assert "not published" in text or "not of this file" in text


def test_short_trainings_begin_with_few_lesions_and_published_ones_as_published():
    """Without a prior, which no paper names, a CPU's few epochs go into learning that lesions are rare."""
    systems = ("koirala", "nnunet", "runet", "segresnet", "sejong", "sparseg", "swin4", "ternaus", "unet3d")
    for name in (*(f"hie-{system}-cpu" for system in systems), "wmh-instance-cpu"):
        own = [each for each in recipes.load(name).trainings if not each.is_pretraining]
        assert {training.network.options.get("prior") for training in own} == {0.01}
    assert not any("prior" in recipes.load(name).network.options for name in PRINTED)


def test_the_least_volume_is_where_small_lesions_end_in_rachmadi_2024():
    clean, plain = recipes.load("zadc-clean"), recipes.load("zadc-threshold")
    assert (clean.map, clean.below, clean.brain) == (plain.map, plain.below, plain.brain)
    assert (clean.min_size_ml, plain.min_size_ml) == (0.05, 0.0)


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


def test_the_forest_of_toubal_and_its_first_stage():
    """S1 of the supplement, and the code of CIVA-Lab."""
    recipe = recipes.load("hie-swinrf-2023")
    first = recipe.trained
    assert [channel.standardize for channel in first.preprocessing.channels] == [(1350.251, 428.1346), (0.3467, 2.4878)]
    assert first.preprocessing.spacing == (1.0, 1.0, 1.0) and first.optimizer.lr == 1e-4
    assert first.network.options == {"feature_size": 48, "normalize": False}
    assert list(losses.build(first.loss.name, **first.loss.options).weights) == ["dice", "log-hausdorff-dt"]
    assert (first.inference.window, first.inference.overlap) == ((128, 128, 128), 0.0)
    assert (recipe.second.window, recipe.second.maps, recipe.forest.trees) == ("5x5", ("zadc", "adc"), 100)
    mask = recipe.inference
    assert (mask.threshold, mask.min_size_voxels, mask.min_size_dimensions) == (0.5, 5, 2)
    small = recipes.load("hie-swinrf-cpu")
    assert (small.second, small.forest, small.inference) == (recipe.second, recipe.forest, recipe.inference)


def test_nnunet_is_as_it_comes_at_1_mm():
    recipe = recipes.load("hie-nnunet-2023")
    assert (recipe.epochs, recipe.iterations, recipe.validation_iterations, recipe.step_size) == (1000, 250, 50, 0.5)
    assert (recipe.loss, recipe.mirroring, recipe.configuration) == (None, True, "3d_fullres")
    assert recipe.spacing == (1.0, 1.0, 1.0) and recipe.trainer == "nnUNetTrainer"


def test_its_form_for_a_cpu_has_its_standard_settings():
    small = recipes.load("hie-nnunet-cpu")
    optimizer = small.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.01, 0.99, True)
    assert (optimizer.weight_decay, small.schedule.power, small.loss.name) == (3e-5, 0.9, "dice-ce")
    assert (small.training.batch_size, small.training.monitor, small.training.deep_supervision) == (2, None, ())
    assert small.sampling.centred == pytest.approx(1 / 3, abs=1e-3) and small.inference.window == small.sampling.crop
    assert (small.inference.overlap, small.inference.flips) == (0.5, (0, 1, 2))


def test_sam2_has_the_boxes_of_the_same_threshold_and_a_grey_image_three_times():
    recipe = recipes.load("hie-sam2-zeroshot")
    assert (recipe.candidates.below, recipe.candidates.min_size_voxels, recipe.candidates.margin) == (-2.0, 4, 1)
    assert len(set(map(str, recipe.channels))) == 1 and recipe.channels[0].range == (0.0, 2000.0)
    assert recipe.download is False and recipe.answer == "model"


def test_the_weights_of_the_losses():
    assert losses.build("tversky-hausdorff").weights == {"tversky": 0.9, "log-hausdorff-dt": 0.1}
    assert losses.build("dice-focal-hausdorff").weights == {"dice": 0.45, "focal": 0.45, "log-hausdorff-dt": 0.1}
    assert losses.build("tlhf").weights == {"tversky": 1.5, "log-hausdorff-dt": 2.0, "focal": (2.0, 4.0)}


def _loss(name):
    settings = recipes.load(name).loss
    return losses.build(settings.name, **settings.options)


def _millions(network):
    return sum(weight.numel() for weight in network.parameters()) / 1e6


def _at(value, key):
    for part in key.split("."):
        if isinstance(value, BaseModel):
            value = getattr(value, part)
        else:
            value = value[int(part)] if part.isdecimal() else value[part]
    return value
