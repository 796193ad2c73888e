"""Fine-tuning: a training begins with the weights of another one (`training.start_from`)."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from multifocal import networks
from multifocal.config import read_yaml
from multifocal.errors import UserError
from multifocal.systems.loading import ABOUT, RECIPE, read_about, seen_in
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.systems.system import WEIGHTS
from multifocal.weights import read_weights

KEY = "start_from"


def read_start(recipe: NetworkRecipe) -> dict[str, torch.Tensor] | None:
    """Read the weights that a recipe's training begins with.

    Args:
        recipe: of the training.

    Returns:
        Tensors by name, which fit the recipe's network, all but its head where they are those of a denoising; None
        where it begins anew.

    Raises:
        UserError: there is no such file, it is no safetensors file (a pickle is never opened), or a tensor does not
            fit.

    Example:
        >>> from multifocal import recipes
        >>> read_start(recipes.load("default")) is None
        True
    """
    if recipe.training.start_from is None:
        return None
    file = _file(Path(recipe.training.start_from))
    found = read_weights(file)
    network = recipe.build_network()
    expected = network.state_dict()
    if _is_denoiser(file.parent):
        head = networks.head_name(network, out_channels=network.out_channels)
        expected = {name: value for name, value in expected.items() if not name.startswith(f"{head}.")}
        found = {name: value for name, value in found.items() if not name.startswith(f"{head}.")}
    for name in (name for name in expected if name in found):
        there, here = list(found[name].shape), list(expected[name].shape)
        if there != here:
            raise UserError(
                f"training.start_from: {file}: tensor {name} has the shape {there} there, and {here} in this recipe's "
                f"{recipe.network.name}; start from weights of as many channels, classes and features"
            )
    if strange := sorted(expected.keys() ^ found.keys()):
        where, but = ("this recipe's network", "the file") if strange[0] in expected else ("the file", "the network")
        raise UserError(
            f"training.start_from: {file}: tensor {strange[0]} is in {where}, but not in {but}; "
            f"start from weights of a {recipe.network.name} with the same options"
        )
    return found


def start_record(recipe: NetworkRecipe) -> dict[str, Any]:
    """Return what `run.json` says of the weights that a training begins with.

    Args:
        recipe: of the training.

    Returns:
        Under `start_from` the file, its SHA-256, and the cases that it has seen, which are not new to what is trained
        from it; nothing where the training begins anew.

    Raises:
        UserError: there is no such file.

    Example:
        >>> from multifocal import recipes
        >>> start_record(recipes.load("default"))
        {}
    """
    if recipe.training.start_from is None:
        return {}
    file = _file(Path(recipe.training.start_from))
    return {KEY: {"weights": str(file), "sha256": _digest(file), "seen": seen_in(file.parent).to_json()}}


def start_digest(recipe: NetworkRecipe) -> str:
    """Return the SHA-256 (hex) of the weights file that a training begins with.

    Args:
        recipe: of the training, which has a `training.start_from`.

    Returns:
        64 characters.

    Raises:
        UserError: there is no such file.
    """
    return _digest(_file(Path(str(recipe.training.start_from))))


def check_same_start(run: Path, recipe: NetworkRecipe) -> None:
    """Check that a run that was killed in its first epoch begins again with the weights it began with.

    Args:
        run: the run folder.
        recipe: of the training.

    Raises:
        UserError: the file is gone, or another one.
    """
    if recipe.training.start_from is None or not (run / ABOUT).is_file():
        return
    file, recorded = _file(Path(recipe.training.start_from)), read_about(run).get(KEY)
    if not isinstance(recorded, dict) or recorded.get("sha256") != _digest(file):
        raise UserError(f"{run}: was begun with other weights than {file} holds now; choose another folder for these")


def _file(start_from: Path) -> Path:
    """Return the weights file that is meant: of a run folder, the outcome."""
    if not start_from.is_dir():
        return start_from
    if not (start_from / WEIGHTS).is_file():
        raise UserError(
            f"training.start_from: {start_from}: holds no {WEIGHTS}; finish that training, or give a weights file"
        )
    return start_from / WEIGHTS


def _is_denoiser(run: Path) -> bool:
    """Return whether a run folder is that of a pretraining, whose head says another thing than a segmentation's."""
    if not (run / RECIPE).is_file():
        return False
    said = read_yaml(run / RECIPE)
    return isinstance(said, Mapping) and bool(isinstance(of := said.get("training"), Mapping) and of.get("denoise"))


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"training.start_from: {file}: cannot be read ({error.strerror}); give a weights file"
        ) from error
