"""The trainer on a stand-in for nnU-Net's, with the attributes of version 2.8 that it touches."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from multifocal.errors import UserError
from multifocal.files import read_json
from multifocal.nnunet import TRAINERS, MultifocalLoss, choose


class StandIn:
    """nnU-Net's own trainer, as far as a loss can see it."""

    def __init__(self, folder, *, deep=True, regions=False):
        self.output_folder, self.enable_deep_supervision = str(folder), deep
        self.label_manager = SimpleNamespace(has_regions=regions, ignore_label=None)
        self.configuration_manager = SimpleNamespace(spacing=[4.0, 1.5, 1.5])
        self.current_epoch, self.num_epochs, self.local_rank = 0, 5, 0
        self.log = []

    def _build_loss(self):
        return SimpleNamespace(weight_factors=np.array([2 / 3, 1 / 3, 0.0]))

    def _get_deep_supervision_scales(self):
        return [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]

    def on_train_start(self):
        self.loss = self._build_loss()

    def on_train_epoch_start(self):
        pass

    def on_train_epoch_end(self, outputs):
        self.log.append("train_loss")

    def print_to_log_file(self, *args):
        self.log.append(" ".join(map(str, args)))


class FromEnvironment(MultifocalLoss, StandIn):
    pass


class Tversky(MultifocalLoss, StandIn):
    multifocal_loss = {"name": "tversky-hausdorff", "distances": "mm"}


def started(kind, folder, **options):
    trainer = kind(folder, **options)
    trainer.on_train_start()
    return trainer


def test_weights_are_nnunets_and_spacing_the_plans(tmp_path):
    loss = started(Tversky, tmp_path).loss
    assert loss.weights == pytest.approx((2 / 3, 1 / 3, 0.0))
    assert [level.options.spacing for level in loss.levels] == [(4.0, 1.5, 1.5), (4.0, 3.0, 3.0), (8.0, 6.0, 6.0)]


def test_without_deep_supervision_there_is_one_output(tmp_path):
    loss = started(Tversky, tmp_path, deep=False).loss
    assert loss.weights == (1.0,) and loss.levels[0].options.spacing == (4.0, 1.5, 1.5)


def test_regions_are_passed_on(tmp_path):
    assert started(Tversky, tmp_path, regions=True).loss.regions


def test_progress_follows_the_epoch_and_terms_are_logged(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIFOCAL_LOSS", "tlhf")
    trainer = started(FromEnvironment, tmp_path)
    outputs = [torch.zeros(1, 2, 4, 8, 8, requires_grad=True)] * 3
    for trainer.current_epoch, expected in ((0, 0.0), (2, 0.5), (4, 1.0)):
        trainer.on_train_epoch_start()
        assert {level.progress for level in trainer.loss.levels} == {expected}
    trainer.loss(outputs, [torch.ones(1, 1, 4, 8, 8)] * 3)
    trainer.on_train_epoch_end([])
    assert trainer.log[-2] == "train_loss" and trainer.log[-1].startswith("terms tversky 0.41")


def test_a_single_epoch_has_no_way_to_go(tmp_path):
    trainer = started(Tversky, tmp_path)
    trainer.num_epochs = 1
    trainer.on_train_epoch_start()
    assert trainer.loss.levels[0].progress == 0


def test_the_folder_remembers_its_loss(tmp_path, monkeypatch):
    monkeypatch.setenv("MULTIFOCAL_LOSS", "blob-gdf")
    started(FromEnvironment, tmp_path)
    assert read_json(tmp_path / "multifocal.json") == {"name": "blob-gdf", "options": {}, "distances": "voxels"}
    monkeypatch.setenv("MULTIFOCAL_LOSS", "gdf")
    with pytest.raises(UserError, match="blob-gdf .voxels. was trained here, not gdf"):
        started(FromEnvironment, tmp_path)
    monkeypatch.delenv("MULTIFOCAL_LOSS")  # as for `--c` and `--val`
    assert choose(None, tmp_path).name == "blob-gdf"


def test_other_processes_leave_the_record_alone(tmp_path):
    trainer = Tversky(tmp_path)
    trainer.local_rank = 1
    trainer.on_train_start()
    assert not list(tmp_path.iterdir())


def test_the_pages_yaml(tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "nnunet.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    monkeypatch.setenv("MULTIFOCAL_LOSS", str(file))
    loss = started(FromEnvironment, tmp_path).loss
    assert loss.levels[0].weights == {"tversky": 0.9, "log-hausdorff-dt": (0.0, 0.1)}
    assert loss.levels[1].options.spacing == (4.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "MULTIFOCAL_LOSS is not set.*blob-gdf"),
        ("blob-gfd", "MULTIFOCAL_LOSS: .*unknown loss 'blob-gfd'; did you mean 'blob-gdf'"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_losses_that_cannot_be(value, expected, monkeypatch):
    monkeypatch.setenv("MULTIFOCAL_LOSS", value)
    with pytest.raises(UserError, match=expected):
        choose(None, None)


def test_the_folder_of_trainers_is_printed(capsys):
    runpy.run_module("multifocal.nnunet", run_name="__main__")
    assert capsys.readouterr().out == f"{TRAINERS}\n"
    assert [file.name for file in TRAINERS.glob("*.py")] == ["multifocal_trainers.py"]
