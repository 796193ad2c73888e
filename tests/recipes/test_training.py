"""Recipes for a CPU train, their networks made tiny: finite losses, masks on the scan's grid, the same when loaded."""

import csv
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from multifocal import recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.pipeline.prepare import prepare
from multifocal.systems import load_model
from multifocal.training import fit

SHORT = ("training.epochs=2", "training.precision=32", "optimizer.lr=3e-2", "schedule={name: constant}")
UNET = "network.options={features: [2, 4], dropout: [0, 0], prior: 0.01}"
SWIN = "network.options={feature_size: 12, window_size: 2, depths: [1, 1, 1, 1], num_heads: [3, 3, 3, 3], prior: 0.01}"
SMP = "network.options={encoder: resnet18, depth: 3, prior: 0.01}"
CROP = "sampling.crop=[16, 16, 8]"
ADC = ("preprocessing.brain=adc", "preprocessing.channels.0.map=adc")
SLICES = ("preprocessing.size=[24, 24, null]",)
BOTH = tuple(f"training.start_from.set.{change}" for change in (*SLICES, SMP, "network.options.prior=null", *SHORT))
# What makes each small, or of each of its members.
TINY = {
    "hie-koirala-cpu": (
        (UNET,),
        ("network={name: monai-unet, options: {channels: [2, 4], strides: [2]}}",),
        ("network={name: onet, options: {features: [2, 4], dropout: [0, 0]}}",),
    ),
    "hie-nnunet-cpu": ("network.options={filters: [2, 4, 4], strides: [1, 2, 2], prior: 0.01}", CROP),
    "hie-runet-cpu": ("network.options={features: [2, 4], blocks: [1, 1]}",),
    "hie-segresnet-cpu": ("network.options={init_filters: 8, blocks_down: [1, 1], blocks_up: [1]}", CROP),
    "hie-sejong-cpu": (UNET,),
    "hie-sparseg-cpu": (SMP, "sampling.crop=[24, 24]"),
    "hie-swin4-cpu": ((SWIN, CROP),) * 4,
    "hie-swinrf-cpu": (SWIN, CROP),
    "hie-ternaus-cpu": (SMP, *SLICES, *BOTH),
    "hie-unet3d-cpu": (UNET, "preprocessing.size=[16, 16, 8]"),
    "tnbc-instance-cpu": (SWIN, "sampling.crop=[32, 32]"),
    "wmh-instance-cpu": (SWIN, "sampling={crop: [16, 16], slices: 3}", *ADC),
}
QUICK = ("hie-sejong-cpu", "hie-segresnet-cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scans(small_cohort):
    return open_cohort(small_cohort)


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    """Six pictures of 40×36 in colour, each with two dark squares."""
    root, rng = tmp_path_factory.mktemp("nuclei"), np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(6):
        labels = np.zeros((36, 40), np.uint8)
        labels[4 : 12 + number, 5:14], labels[20:30, 20:33] = 1, 2
        picture = rng.integers(140, 220, (36, 40, 3)) - 90 * (labels > 0)[..., None]
        Image.fromarray(picture.astype(np.uint8)).save(root / f"images/{number}.png")
        Image.fromarray(labels).save(root / f"masks/{number}.png")
    return open_cohort(root)


def small(name, *overrides):
    """Return a recipe with its network, or those of its members, made tiny."""
    changes = TINY[name]
    if isinstance(changes[0], tuple):
        said = [f"members.{n}.set.{change}" for n, each in enumerate(changes) for change in (*SHORT, *each)]
        return recipes.load(name, overrides=[*said, *overrides])
    if recipes.load(name).kind == "cascade":
        said = [f"first.recipe.{change}" for change in (*SHORT, *changes)]
        return recipes.load(name, overrides=[*said, "folds=2", "forest.trees=3", *overrides])
    return recipes.load(name, overrides=[*SHORT, *changes, *overrides])


def train(recipe, cohort, out):
    """Train on four cases, validate on two; return the run."""
    names = tuple(case.name for case in cohort)
    split = Fold(train=names[:4], validation=names[4:], test=())
    fit(recipe, cohort, split=split, out=out, progress=False, device="cpu")
    return out


def losses(run):
    """Return the losses of each training, an epoch after the other."""
    logs = [csv.DictReader(file.open()) for file in sorted(run.rglob("log.csv"))]
    return [[float(row["train/loss"]) for row in log] for log in logs]


def check(recipe, cohort, tmp_path):
    """Train, look at the losses, and predict a case twice: from the run, and from a copy of it."""
    run = train(recipe, cohort, tmp_path / "run")
    found = losses(run)
    assert [len(each) for each in found] == [2] * len(recipe.trainings)
    assert all(math.isfinite(loss) for each in found for loss in each)
    if all(training.sampling.crop is None for training in recipe.trainings):  # others see other crops in each epoch
        assert all(last < first for first, last in found)
    assert (run / "tuned.json").is_file() == (recipe.tune is not None)
    shutil.copytree(run, tmp_path / "copy")
    for case in cohort.cases[3:5]:  # the fourth is coronal
        first, again = (load_model(tmp_path / each, device="cpu").predict(case) for each in ("run", "copy"))
        assert first.mask.geometry == next(iter(case.images.values())).geometry()
        assert set(np.unique(first.mask.array)) <= {0, 1}
        assert np.array_equal(first.mask.array, again.mask.array)
        if first.probability is not None:
            assert 0 <= first.probability.array.min() <= first.probability.array.max() <= 1
            assert np.array_equal(first.probability.array, again.probability.array)


def test_all_of_them_are_here():
    elsewhere = {"hie-voxelwise-cpu"}  # tests/systems/test_voxelwise.py
    assert TINY.keys() | elsewhere == {name for name in recipes.names() if name.endswith("-cpu")}


@pytest.mark.parametrize("name", QUICK)
def test_two_that_train_in_seconds(name, scans, tmp_path):
    check(small(name), scans, tmp_path)


def test_the_recommended_one_has_no_network(scans, tmp_path):
    recipe = recipes.load("default")
    assert not recipe.trainings
    check(recipe, scans, tmp_path)
    model = load_model(tmp_path / "run", device="cpu")
    assert [bool(each.forest.start.size) for each in model.members] == [True, False]  # boosted, and random
    found = model.predict(scans.cases[4])  # unseen, with lesions
    truth = scans.cases[4].label.read().array > 0
    overlap = 2 * (found.mask.array.astype(bool) & truth).sum() / (found.mask.array.sum() + truth.sum())
    assert overlap > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TINY.keys() - QUICK))
def test_every_other_trains(name, scans, nuclei, tmp_path):
    check(small(name), nuclei if name.startswith("tnbc") else scans, tmp_path)


@pytest.mark.slow
def test_white_matter_lesions_of_the_synthetic_cohort(tmp_path):
    write_phantom(tmp_path / "flair", kind="wmh", cases=1, seed=0)
    whole_brain(open_cohort(tmp_path / "flair"))


def test_white_matter_lesions_of_real_scans(shared_data, tmp_path):
    rows = [f"{each.name},{each}/flair.nii.gz,{each}/mask.nii.gz" for each in sorted(shared_data.glob("ms-flair/*/"))]
    if not rows:
        pytest.skip("the MS FLAIR cases are not beside the project")
    (tmp_path / "manifest.csv").write_text("\n".join(["case,flair,label", *rows]))
    whole_brain(open_cohort(tmp_path / "manifest.csv"))


def whole_brain(cohort):
    """Check what wmh-default makes of the first case: a brain at 1 mm that holds its crops, and lesions in it."""
    recipe = recipes.load("wmh-default")
    found = prepare(cohort.cases[0], recipe.preprocessing)
    assert found.geometry.spacing == pytest.approx((1, 1, 1))
    assert found.images.shape[0] == 1 and np.isfinite(found.images).all()
    assert all(n >= length for n, length in zip(found.target.shape, recipe.sampling.crop, strict=True))
    assert found.target.any() and set(np.unique(found.target)) == {0, 1}
    assert found.images[0][found.inside].std() == pytest.approx(1, abs=0.01)
