"""The page's code runs as it stands, and its pictures are there."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "which-loss.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture
def given() -> dict:
    """What a reader's own loop has."""
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    target = torch.zeros(2, 1, 16, 16)
    target[..., 3:7, 3:7] = 1
    logits = network(torch.randn(2, 1, 16, 16))
    return {
        "network": network,
        "optimizer": torch.optim.SGD(network.parameters(), lr=0.1),
        "batches": [(torch.randn(2, 1, 16, 16), target)] * 2,
        "epochs": 2,
        "target": target,
        "logits": logits,
        "logits_at_half": torch.nn.functional.avg_pool2d(logits, 2),
    }


def run(library: str, given: dict) -> dict:
    (code,) = (block for block in BLOCKS if library in block)
    exec(compile(code, str(PAGE), "exec"), given)  # noqa: S102
    return given


def test_plain_pytorch(given):
    before = given["network"].weight.detach().clone()
    assert run("optimizer.step", given)["loss"].progress == 1
    assert not torch.equal(given["network"].weight, before)


def test_monai(given):
    pytest.importorskip("monai")
    run("monai", given)
    assert given["network"].weight.grad.abs().sum() > 0


def test_lightning(given, tmp_path):
    lightning = pytest.importorskip("lightning")
    module = run("lightning", given)["Segmenter"](given["network"])
    module.configure_optimizers = lambda: given["optimizer"]
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader([(x[0], y[0]) for x, y in given["batches"]], batch_size=2))
    assert set(trainer.logged_metrics) == {"gdf", "gdf over blobs"}


def test_pictures_are_there_and_small():
    pictures = [PAGE.parent / path for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", PAGE.read_text())]
    assert len(pictures) == 2 and sum(picture.stat().st_size for picture in pictures) < 600_000


def test_the_table_of_toys_is_what_the_losses_say_today():
    spec = importlib.util.spec_from_file_location("make_which_loss", PAGE.parents[1] / "tools" / "make_which_loss.py")
    tool = importlib.util.module_from_spec(spec)
    pytest.importorskip("matplotlib")
    spec.loader.exec_module(tool)
    shown = re.search(r"<!-- toys -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S)[1].strip().splitlines()
    made = tool.toy_table(*tool.toys())
    assert [line.split("|")[1] for line in shown] == [line.split("|")[1] for line in made]
    for old, new in zip(shown[2:], made[2:], strict=True):
        numbers = [[float(cell.strip(" *")) for cell in line.split("|")[2:-1]] for line in (old, new)]
        assert numbers[0] == pytest.approx(numbers[1], abs=0.11), f"run {PAGE.name}'s command again"
