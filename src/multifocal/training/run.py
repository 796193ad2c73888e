"""A run folder: everything needed to repeat the run, and what came of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from multifocal import recipes
from multifocal.cohorts import Cohort, fingerprint
from multifocal.errors import UserError
from multifocal.files import WRITING, read_json, write_error, write_json, write_text
from multifocal.recipes import Recipe
from multifocal.versions import versions

RECIPE, ABOUT, WEIGHTS, CACHE = "recipe.yaml", "run.json", "weights.safetensors", "cache"


@dataclass(frozen=True)
class Parts:
    """Which cases a run trains on, validates on during training, and leaves alone."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def describe(recipe: Recipe, cohort: Cohort, parts: Parts, *, processes: int) -> dict[str, Any]:
    """Return what `run.json` says: with recipe.yaml, everything needed to repeat the run."""
    used = cohort.subset([*parts.train, *parts.validation])
    return {
        "recipe": recipe.name,
        "seed": recipe.training.seed,
        "cohort": {"name": cohort.name, "layout": cohort.layout, "fingerprint": fingerprint(used)},
        "parts": {"train": list(parts.train), "validation": list(parts.validation), "test": list(parts.test)},
        "versions": versions(),
        "processes": processes,
        "threads": torch.get_num_threads(),
    }


def check_run(folder: Path, *, about: dict[str, Any], recipe: Recipe, resume: bool) -> bool:
    """Check that a folder is free, or holds this very run; return whether there is something to resume.

    Raises:
        UserError: the folder holds something already (and `resume` is off), a finished run, or another run.
    """
    try:
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise write_error(folder, error) from error
    if ABOUT in held:
        if not resume:
            raise UserError(f"{folder}: already holds a run; --resume continues it, or choose another folder")
        _check_same(folder, about, recipes.dump(recipe))
        if WEIGHTS in held:
            raise UserError(f"{folder}: this run is finished; predict with it, or choose another folder")
        return True
    # An attempt that fails before the run begins leaves prepared cases; one that is killed, a file half written; and
    # what it printed may be kept beside the run.
    if any(name != CACHE and not name.startswith(WRITING) and not name.endswith(".log") for name in held):
        raise UserError(f"{folder}: is not empty and holds no run; choose another folder")
    return False


def clear_up(*folders: Path) -> None:
    """Remove what a killed process left half written in folders that nobody else writes to."""
    for folder in folders:
        for debris in folder.glob(f"{WRITING}*"):
            shutil.rmtree(debris, ignore_errors=True)


def begin_run(folder: Path, *, about: dict[str, Any], recipe: Recipe) -> None:
    """Write down what the run is, unless a run that is resumed has done so."""
    if not (folder / ABOUT).exists():
        write_json(folder / ABOUT, about)
    if not (folder / RECIPE).exists():
        write_text(folder / RECIPE, recipes.dump(recipe))


def _check_same(folder: Path, about: dict[str, Any], recipe: str) -> None:
    """Raise `UserError` unless the folder's run is this one: same recipe, cases and contents."""
    before = read_json(folder / ABOUT)
    text = folder / RECIPE
    if text.exists() and text.read_text(encoding="utf-8") != recipe:
        raise UserError(f"{folder}: was begun with other settings (see recipe.yaml); choose another folder for these")
    for key, name in (
        ("parts", "other cases"),
        ("cohort", "other data (the files' contents differ)"),
        ("processes", f"--processes {before.get('processes')}"),
    ):
        if before.get(key) != about[key]:
            raise UserError(f"{folder}: was begun with {name}; choose another folder for these")
