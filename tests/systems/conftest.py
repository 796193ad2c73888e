"""Networks whose answers are known beforehand, and recipes they fit."""

import numpy as np
import pytest
import torch
from torch import nn

from multifocal import recipes
from multifocal.cohorts import open_cohort
from multifocal.networks import Padded
from multifocal.systems.network import NetworkSystem

RECIPE = """
name: fake
description: a prior comes out as it went in
source: tests
preprocessing:
  kind: brain-box
  brain: adc
  channels: [{map: adc}, {map: zadc, below: -2.0}]
augmentation: {}
network: {name: unet3d}
loss: {name: dice}
optimizer: {lr: 1e-3}
training: {epochs: 1, batch_size: 1, monitor: null, precision: 32}
"""


class Known(nn.Module):
    """A network that answers with a function of its input; it remembers the inputs."""

    def __init__(self, answer, multiple=1):
        super().__init__()
        self.answer, self.multiple, self.seen = answer, multiple, []
        self.weight = nn.Parameter(torch.zeros(1))  # its device is the model's

    def forward(self, images):
        self.seen.append(images.clone())
        return self.answer(images)


def prior(images):
    """Return the second channel, 0 or 1, as sure logits."""
    return (images[:, 1:2] - 0.5) * 40


@pytest.fixture
def recipe(tmp_path_factory):
    """The recipe above with values replaced."""

    def make(*overrides, dimensions=3):
        file = tmp_path_factory.mktemp("recipes") / "fake.yaml"
        file.write_text(RECIPE.replace("unet3d", {2: "unetpp", 3: "unet3d"}[dimensions]))
        return recipes.load(file, overrides=overrides)

    return make


@pytest.fixture
def model(recipe):
    """A model whose network answers with a function of its input."""

    def make(*overrides, answer=prior, dimensions=3, multiple=1):
        return NetworkSystem(recipe(*overrides, dimensions=dimensions), Padded(Known(answer, multiple)))

    return make


@pytest.fixture(scope="session")
def cohort(small_cohort):
    return open_cohort(small_cohort)


@pytest.fixture(scope="session")
def below():
    """The voxels of the brain whose Z-ADC lies below a value, on the scan's own grid."""

    def below(case, value=-2.0) -> np.ndarray:
        return (case.images["zadc"].read().array < value) & (case.images["adc"].read().array != 0)

    return below
