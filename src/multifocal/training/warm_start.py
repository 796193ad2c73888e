"""Fine-tuning: a training begins with the weights of another one (`training.start_from`)."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from multifocal import models, networks
from multifocal.config import read_yaml
from multifocal.errors import UserError
from multifocal.files import write_json
from multifocal.systems.loading import ABOUT, RECIPE, read_about, seen_in
from multifocal.systems.network_recipe import NetworkRecipe
from multifocal.systems.system import MEMBERS, WEIGHTS
from multifocal.weights import read_weights

KEY = "start_from"


def read_start(recipe: NetworkRecipe) -> dict[str, torch.Tensor] | None:
    """Read the weights that a recipe's training begins with.

    Args:
        recipe: of the training; what it starts from is a path, or the name of a model (`multifocal.models`).

    Returns:
        Tensors by name, which fit the recipe's network, all but its head where they are those of a denoising; None
        where it begins anew.

    Raises:
        UserError: there is no such file, it is no safetensors file (a pickle is never opened), or a tensor does not
            fit.

    Example:
        >>> from multifocal import recipes
        >>> read_start(recipes.load("hie-small")) is None
        True
    """
    if recipe.training.start_from is None:
        return None
    file = _file(Path(str(recipe.training.start_from)))
    return _fitting(read_weights(file), recipe, where=str(file), is_denoiser=_is_denoiser(file.parent))


def check_start(recipe: NetworkRecipe) -> None:
    """Check that the weights that a training begins with fit, or will fit where they are yet to be trained.

    Args:
        recipe: of the training.

    Raises:
        UserError: there is no such file, or a tensor does not fit.
    """
    if recipe.start is None:
        read_start(recipe)
    else:
        found, where = recipe.start.build_network().state_dict(), f"recipe {recipe.start.name}"
        _fitting(found, recipe, where=where, is_denoiser=recipe.start.is_pretraining)


def starting_at(recipe: NetworkRecipe, run: Path) -> NetworkRecipe:
    """Return a recipe that starts from a run, in the place of the recipe that it was trained by.

    Args:
        recipe: of the training.
        run: the run folder.

    Returns:
        The same but for `training.start_from`.
    """
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={KEY: str(run.absolute())})})


def record_start(run: Path, recipe: NetworkRecipe) -> None:
    """Write into `run.json` what a training begins with that was trained after the run had begun.

    Args:
        run: the run folder.
        recipe: of the training, see `starting_at`.

    Raises:
        UserError: the run was begun with other weights, or a file cannot be read or written.
    """
    about, record = read_about(run), start_record(recipe)
    if KEY in about:
        check_same_start(run, recipe)
        return
    weights = os.path.relpath(record[KEY]["weights"], run.absolute())  # they move with the run
    write_json(run / ABOUT, {**about, KEY: {**record[KEY], "weights": weights}})


def start_record(recipe: NetworkRecipe) -> dict[str, Any]:
    """Return what `run.json` says of the weights that a training begins with.

    Args:
        recipe: of the training.

    Returns:
        Under `start_from` the file, its SHA-256, and the cases that it has seen, which are not new to what is trained
        from it; nothing where the training begins anew, or with what is yet to be trained.

    Raises:
        UserError: there is no such file.

    Example:
        >>> from multifocal import recipes
        >>> start_record(recipes.load("hie-small"))
        {}
    """
    if not isinstance(recipe.training.start_from, str):
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
    if not isinstance(recipe.training.start_from, str) or not (run / ABOUT).is_file():
        return
    file, recorded = _file(Path(recipe.training.start_from)), read_about(run).get(KEY)
    if not isinstance(recorded, dict) or recorded.get("sha256") != _digest(file):
        raise UserError(f"{run}: was begun with other weights than {file} holds now; choose another folder for these")


def _fitting(
    found: dict[str, torch.Tensor], recipe: NetworkRecipe, *, where: str, is_denoiser: bool
) -> dict[str, torch.Tensor]:
    """Return the weights that a training takes, all but the head of a denoiser; `UserError` where one does not fit."""
    network = recipe.build_network()
    expected = network.state_dict()
    if is_denoiser:
        head = networks.head_name(network, out_channels=network.out_channels)
        expected = {name: value for name, value in expected.items() if not name.startswith(f"{head}.")}
        found = {name: value for name, value in found.items() if not name.startswith(f"{head}.")}
    for name in (name for name in expected if name in found):
        there, here = list(found[name].shape), list(expected[name].shape)
        if there != here:
            raise UserError(
                f"training.start_from: {where}: tensor {name} has the shape {there} there, and {here} in this recipe's "
                f"{recipe.network.name}; start from weights of as many channels, classes and features"
            )
    if strange := sorted(expected.keys() ^ found.keys()):
        has, lacks = (
            ("in this recipe's network", "there") if strange[0] in expected else ("there", "in this recipe's network")
        )
        raise UserError(
            f"training.start_from: {where}: tensor {strange[0]} is {has}, but not {lacks}; "
            f"start from weights of a {recipe.network.name} with the same options"
        )
    return found


def _file(start_from: Path) -> Path:
    """Return the weights file that is meant: of a run folder, or a model of the package, the outcome."""
    start_from = models.run_folder(start_from)
    if not start_from.is_dir():
        return start_from
    if not (start_from / WEIGHTS).is_file():
        has_members = any(start_from.glob(f"{MEMBERS}/*/{WEIGHTS}"))
        cure = f"start from one of its {MEMBERS}/ that is a network" if has_members else "finish that training"
        raise UserError(f"training.start_from: {start_from}: holds no {WEIGHTS}; {cure}, or give a weights file")
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
