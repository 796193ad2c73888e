"""Trainings of seconds, each in a folder of its own, over one cache."""

import csv
from pathlib import Path

import pytest
import torch

from multifocal import recipes
from multifocal.cohorts import Fold, open_cohort
from multifocal.training import fit


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def forked(monkeypatch):
    """Data-parallel processes that need not import the package again."""
    monkeypatch.setattr("multifocal.training.ddp.START", "fork")


@pytest.fixture(scope="session")
def cohort(small_cohort):
    return open_cohort(small_cohort)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def train(cohort, small_recipe, shared_cache, tmp_path):
    """Train the small recipe on the first cases, validate on the last; return the run folder."""

    def train(*overrides: str, out: str = "run", cases: int = 6, validation: int = 2, **options) -> Path:
        names = tuple(case.name for case in cohort)[:cases]
        split = Fold(train=names[: cases - validation], validation=names[cases - validation :], test=())
        recipe = recipes.load(small_recipe, overrides=overrides)
        fit(recipe, cohort, split=split, out=tmp_path / out, **{"cache": shared_cache, "progress": False} | options)
        return tmp_path / out

    return train


@pytest.fixture
def log():
    """Read a run's log.csv."""

    def log(run: Path) -> list[dict[str, str]]:
        return list(csv.DictReader((run / "log.csv").open()))

    return log
