"""What docs/losses.md shows works as it stands there."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from multifocal import losses
from multifocal.losses.from_config import TERMS
from multifocal.losses.regions import REGIONS

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)
YAML = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python(code):
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2, 16, 16, 16) if "spacing" in code else (2, 2, 16, 16)
    target = (torch.rand(shape, generator=generator) < 0.1).float()
    target[:, 0] = 1 - target[:, 1]
    logits = torch.randn(shape, generator=generator, requires_grad=True)
    names = {"logits": logits, "target": target, "prob": torch.sigmoid(logits), "epoch": 3, "epochs": 10}
    exec(code, names | {"losses": losses})  # noqa: S102


@pytest.mark.parametrize("text", YAML, ids=range(len(YAML)))
def test_yaml(text, batch):
    data = yaml.safe_load(text)
    options = data["loss"]["options"] if isinstance(data, dict) else {"terms": data}
    assert losses.build("compound", **options)(*batch).isfinite()


@pytest.mark.parametrize("name", [*losses.names(), *TERMS, *REGIONS])
def test_everything_is_named(name):
    assert f"`{name}`" in PAGE
