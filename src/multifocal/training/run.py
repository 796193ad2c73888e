"""A run folder: everything needed to repeat the run, and what came of it."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from multifocal import recipes
from multifocal.cohorts import Cohort, fingerprint
from multifocal.errors import UserError
from multifocal.files import read_json, write_error, write_json, write_text
from multifocal.recipes import Recipe

RECIPE, ABOUT, WEIGHTS = "recipe.yaml", "run.json", "weights.safetensors"
PACKAGES = ("multifocal", "torch", "lightning", "monai", "numpy", "SimpleITK", "segmentation-models-pytorch", "timm")


@dataclass(frozen=True)
class Parts:
    """Which cases a run trains on, validates on during training, and leaves alone."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def open_run(folder: Path, *, recipe: Recipe, cohort: Cohort, parts: Parts, resume: bool) -> bool:
    """Claim a run folder, or check that the one there is the same run; return whether there is something to resume.

    Raises:
        UserError: the folder holds something already (and `resume` is off), a finished run, or another run.
    """
    about = _about(recipe, cohort, parts)
    if (folder / ABOUT).exists():
        if not resume:
            raise UserError(f"{folder}: already holds a run; --resume continues it, or choose another folder")
        _check_same(folder, about, recipes.dump(recipe))
        if (folder / WEIGHTS).exists():
            raise UserError(f"{folder}: this run is finished; predict with it, or choose another folder")
        return True
    try:
        if folder.exists() and any(folder.iterdir()):
            raise UserError(f"{folder}: is not empty and holds no run; choose another folder")
    except OSError as error:
        raise write_error(folder, error) from error
    write_text(folder / RECIPE, recipes.dump(recipe))
    write_json(folder / ABOUT, about)
    return False


def _about(recipe: Recipe, cohort: Cohort, parts: Parts) -> dict[str, Any]:
    used = cohort.subset([*parts.train, *parts.validation])
    return {
        "recipe": recipe.name,
        "seed": recipe.training.seed,
        "cohort": {"name": cohort.name, "layout": cohort.layout, "fingerprint": fingerprint(used)},
        "parts": {"train": list(parts.train), "validation": list(parts.validation), "test": list(parts.test)},
        "versions": {"python": platform.python_version(), **_versions()},
        "threads": torch.get_num_threads(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # an extra that is not installed
    return found


def _check_same(folder: Path, about: dict[str, Any], recipe: str) -> None:
    """Raise `UserError` unless the folder's run is this one: same recipe, cases and contents."""
    before = read_json(folder / ABOUT)
    if (folder / RECIPE).read_text(encoding="utf-8") != recipe:
        raise UserError(f"{folder}: was begun with other settings (see recipe.yaml); choose another folder for these")
    for key, name in (("parts", "other cases"), ("cohort", "other data (the files' contents differ)")):
        if before.get(key) != about[key]:
            raise UserError(f"{folder}: was begun with {name}; choose another folder for these")
