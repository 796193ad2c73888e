"""A training of two steps, whatever the network."""

import pytest
import torch
import yaml

from multifocal import networks, recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.systems import load_model
from multifocal.training import fit


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def train_two_steps(small_cohort, small_recipe, cache, tmp_path, monkeypatch):
    """Train a recipe with this network, load it from its run folder, and return its loss at each step."""

    def train(name, options):
        torch.set_num_threads(1)
        found = []
        step = torch.optim.AdamW.step

        def spy(self, closure=None):
            found.append(float(step(self, closure)))
            return found[-1]

        monkeypatch.setattr(torch.optim.AdamW, "step", spy)
        flat = networks.dimensions(name) == 2
        data = yaml.safe_load(small_recipe.read_text()) | {"network": {"name": name, "options": options}}
        data["augmentation"] = {}
        data["training"] = {"epochs": 1, "batch_size": 5 if flat else 1, "monitor": None, "precision": 32}
        file = tmp_path / "recipe.yaml"
        file.write_text(yaml.safe_dump(data))
        cohort = open_cohort(small_cohort)
        names = [case.name for case in cohort][1 : 2 if flat else 3]
        split = Fold(train=tuple(names), validation=(), test=())
        fit(recipes.load(file), cohort, split=split, out=tmp_path / "run", cache=cache, progress=False)
        load_model(tmp_path / "run")
        return found

    return train
