"""Commands as users run them, and a run to predict with."""

import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from multifocal import cli, networks, recipes
from multifocal.weights import write_weights


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def multifocal(capfd, monkeypatch):
    """Run `multifocal` with arguments; return its exit code and what it said."""
    monkeypatch.setattr(sys, "warnoptions", list(sys.warnoptions))
    threads = torch.get_num_threads()

    def multifocal(*arguments) -> Ended:
        torch.set_num_threads(1)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left, warnings.catch_warnings():
            cli.run([str(argument) for argument in arguments])
        return Ended(left.value.code or 0, *capfd.readouterr())

    yield multifocal
    torch.set_num_threads(threads)


@pytest.fixture
def cohort(small_cohort, tmp_path) -> Path:
    """A copy of the small cohort, to be broken."""
    return Path(shutil.copytree(small_cohort, tmp_path / "cohort"))


@pytest.fixture(scope="session")
def finished_run(small_recipe, tmp_path_factory) -> Path:
    """A run folder with random weights."""
    folder, recipe = tmp_path_factory.mktemp("runs") / "finished", recipes.load(small_recipe)
    folder.mkdir()
    (folder / "recipe.yaml").write_text(recipes.dump(recipe))
    torch.manual_seed(0)
    network = networks.build("unet3d", in_channels=2, **recipe.network.options)
    write_weights(folder / "weights.safetensors", network.state_dict())
    return folder


@pytest.fixture
def listing():
    """The files under a folder."""

    def listing(folder: Path) -> list[str]:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())

    return listing
