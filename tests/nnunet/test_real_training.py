"""nnU-Net itself, where it is installed: planned, preprocessed, trained, validated and predicted on synthetic scans."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from multifocal import losses
from multifocal.cohorts.phantom import phantom_case
from multifocal.nnunet import TRAINERS, build_loss, trainer_name
from multifocal.volumes import crop, orient, read, write

pytest.importorskip("nnunetv2")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "nnunet.md"
LOSSES = ("blob-gdf", "cc-dice-ce", "tversky-hausdorff")
# Our trainers, found as nnU-Net finds them, but with two epochs of two steps.
SHORT = """
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

def short(name):
    class Short(recursive_find_trainer_class_by_name(name)):
        def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 2, 1
    return Short

for name in {names}:
    globals()["Short" + name] = short(name)
    globals()["Short" + name].__name__ = "Short" + name
"""


class Install:
    """Folders of nnU-Net, and its commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "trainers").mkdir()
        (root / "trainers" / "short.py").write_text(SHORT.format(names=[trainer_name(loss) for loss in LOSSES]))
        folders = {f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")}
        found = {"nnUNet_extTrainer": os.pathsep.join([str(TRAINERS), str(root / "trainers")])}
        self.environment = {**os.environ, **folders, **found, "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}

    def run(self, command: str, *arguments: str, workers: int = 0) -> str:
        program = Path(sys.executable).parent / f"nnUNetv2_{command}"
        done = subprocess.run(
            [program, *arguments],
            env={**self.environment, "nnUNet_n_proc_DA": str(workers)},
            input="\n",
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def install(tmp_path_factory) -> Install:
    found = Install(tmp_path_factory.mktemp("nnunet"))
    dataset = found.root / "raw" / "Dataset501_Phantom"
    for index in range(5):
        case = phantom_case(seed=0, index=index, cases=5)
        for volume, file in (
            (case.adc, "imagesTr/{}_0000"),
            (case.zadc, "imagesTr/{}_0001"),
            (case.label, "labelsTr/{}"),
        ):
            write(dataset / f"{file.format(case.name)}.nii.gz", _around(case.label, orient(volume)))
    description = {
        "channel_names": {"0": "ADC", "1": "Z-ADC"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (dataset / "dataset.json").write_text(json.dumps(description))
    found.run("plan_and_preprocess", "-d", "501", "-c", "2d", "3d_fullres", "-np", "1", "1", workers=1)
    return found


def _around(label, volume):
    """Crop a volume to 32×32×12 voxels around the middle of the lesions."""
    middle = np.argwhere(orient(label).array > 0).mean(0).astype(int)
    size = np.minimum((32, 32, 12), volume.array.shape)
    lower = np.clip(middle - size // 2, 0, np.array(volume.array.shape) - size)
    return crop(volume, lower=tuple(map(int, lower)), upper=tuple(map(int, lower + size)))


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "configuration"), [*((loss, "3d_fullres") for loss in LOSSES), ("blob-gdf", "2d")])
def test_train_validate_and_predict(install, loss, configuration):
    trainer = "Short" + trainer_name(loss)
    install.run("train", "501", configuration, "0", "-tr", trainer, "-device", "cpu")
    (fold,) = (install.root / "results").glob(f"*/{trainer}__nnUNetPlans__{configuration}/fold_0")
    assert json.loads((fold / "multifocal.json").read_text())["name"] == loss
    (log,) = fold.glob("training_log*.txt")
    text = log.read_text()
    shares = [float(x) for x in re.search(r"deep supervision: weights (.*)", text)[1].split(", ")]
    assert len(shares) > 1 and sum(shares) == pytest.approx(1, abs=0.01) and shares[-1] == 0
    terms = re.findall(r"terms (.*)", text)
    assert len(terms) == 2 and all(name in terms[0] for name in losses.build(loss).weights)
    assert len(re.findall(r"(?:train|val)_loss \d+\.\d+", text)) == 4
    assert 0 <= json.loads((fold / "validation" / "summary.json").read_text())["foreground_mean"]["Dice"] <= 1
    out = install.root / f"{trainer}-{configuration}"
    images = install.root / "raw" / "Dataset501_Phantom" / "imagesTr"
    options = ["-f", "0", "-c", configuration, "-tr", trainer, "-device", "cpu", "-npp", "1", "-nps", "1"]
    install.run("predict", "-d", "501", "-i", str(images), "-o", str(out), *options)
    masks = {file.name: read(file) for file in out.glob("*.nii.gz")}
    assert len(masks) == 5
    assert all(
        not mask.geometry.differences(read(images.parent / "labelsTr" / name).geometry) for name, mask in masks.items()
    )


def test_every_loss_has_a_trainer(install, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    for loss in losses.names():
        found = recursive_find_trainer_class_by_name(trainer_name(loss))
        assert issubclass(found, nnUNetTrainer) and found.multifocal_loss == {"name": loss}
    assert recursive_find_trainer_class_by_name("nnUNetTrainerMultifocal").multifocal_loss is None


@pytest.mark.parametrize("regions", [False, True])
def test_dice_ce_is_nnunets_own_loss(regions):
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 2, 6, 8, 10, generator=rng)
    labels = torch.randint(0, 2, (2, 1, 6, 8, 10), generator=rng)
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    options = {"dice_class": MemoryEfficientSoftDiceLoss}
    theirs = DC_and_BCE_loss({}, dice, **options) if regions else DC_and_CE_loss(dice, {}, **options)
    target = torch.cat([labels, 1 - labels], 1).bool() if regions else labels
    found = build_loss("dice-ce", regions=regions)(logits, target)
    assert found.item() == pytest.approx(theirs(logits, target).item() + 1, rel=1e-5)  # theirs is minus Dice


def test_the_pages_trainer_is_one():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    (code,) = re.findall(r"```python\n(from multifocal.*?)```", PAGE.read_text(), re.S)
    found: dict = {}
    exec(compile(code, str(PAGE), "exec"), found)  # noqa: S102
    assert issubclass(found["nnUNetTrainerMine"], nnUNetTrainer)
    assert found["nnUNetTrainerMine"].on_train_start.__module__ == "multifocal.nnunet.trainer"
