"""Systems ready to predict: from a finished run folder, or from a recipe that needs no training."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multifocal import models, recipes
from multifocal.cohorts.seen import Seen, SeenCase
from multifocal.config import is_yaml
from multifocal.errors import UserError, unknown_name
from multifocal.files import read_json
from multifocal.recipes import KINDS, Recipe
from multifocal.systems.ranges import RANGES, distinct, read_ranges
from multifocal.systems.system import System
from multifocal.systems.tuning import TUNED, read_tuned

RECIPE, ABOUT = "recipe.yaml", "run.json"
IMAGES = "images"  # in `run.json`: a fingerprint of the images of each case
# What lies in a run folder and does not predict.
_NOT_THE_MODEL = frozenset(("cache", "tensorboard", "validation", "log.csv", "resume.safetensors", ABOUT, RANGES))
_FITTED_ON = ("train", "validation")  # parts of run.json


def system_class(recipe: Recipe) -> type[System]:
    """Return the class of the system that a recipe describes.

    Args:
        recipe: of any kind.

    Returns:
        The class, from the registry of kinds.

    Example:
        >>> system_class(recipes.load("zadc-threshold")).__name__
        'ThresholdSystem'
    """
    return KINDS[recipe.kind]


def build(recipe: Recipe, *, device: str = "auto") -> System:
    """Return the system of a recipe that needs no training.

    Args:
        recipe: of any kind.
        device: `auto`, `cpu`, `cuda`, …: what to compute on.

    Returns:
        The system, ready to predict.

    Raises:
        UserError: the recipe needs training, or there is no such device.

    Example:
        >>> build(recipes.load("zadc-threshold")).recipe.below
        -2.0
    """
    if recipe.needs_training:
        raise UserError(
            f"{recipe.name}: is a recipe that needs training; `multifocal train {recipe.name} COHORT --out RUN` "
            "comes first"
        )
    return system_class(recipe).load(recipe, None, device=device)


def load_model(run: str | Path, *, overrides: tuple[str, ...] = (), device: str = "auto") -> System:
    """Return the system of a finished run, of a model of the package, or of a recipe without training.

    Args:
        run: the run folder; or the name of a model (`multifocal.models`), or that of a recipe, or its YAML file.
        overrides: `inference.…=value` pairs for a run (`combine.…=value` for an ensemble's), `key=value` for a recipe
            without training.
        device: `auto` takes the GPU where there is one.

    Returns:
        The system, ready to predict.

    Raises:
        UserError: no such run, one that is not finished, a weights file that is not safetensors or does not fit.

    Example:
        >>> load_model("zadc-threshold", overrides=("below=-2.5",)).recipe.below
        -2.5
    """
    if models.is_model(run):
        return _of_folder(models.run_folder(run), overrides=overrides, device=device)
    folder, text = Path(run), str(run)
    if folder.is_dir() and (text not in recipes.names() or (folder / RECIPE).is_file()):
        return _of_folder(folder, overrides=overrides, device=device)
    if text in recipes.names() or is_yaml(text):
        if text not in recipes.names() and not folder.exists():
            raise UserError(f"{run}: no such run folder, nor a recipe's file; give one that is there")
        recipe = recipes.load(text, overrides=overrides)
        if recipe.needs_training:
            raise UserError(
                f"{run}: is a recipe that needs training; `multifocal train {run} COHORT --out RUN` comes first"
            )
        return build(recipe, device=device)
    if folder.exists():
        raise _no_run(run)
    if text != folder.name:  # a path, not a mistyped name
        raise UserError(f"{run}: no such run folder; give the folder that `multifocal train` wrote")
    known = sorted({*models.names(), *recipes.names()})
    raise UserError(f"{run}: no such run folder, and {unknown_name('model or recipe', text, known)}")


def _of_folder(folder: Path, *, overrides: tuple[str, ...], device: str) -> System:
    file = folder / RECIPE
    if not file.is_file():
        raise _no_run(folder)
    kind = system_class(recipes.load(file))
    allowed = kind.changes_after_training
    for override in overrides:
        if not override.startswith(allowed):
            sections = " and ".join(f"{section}…" for section in allowed)
            raise UserError(f"--set {override}: only {sections} can change after training")
        if override.startswith(tuple(f"{section}tune" for section in allowed)):
            raise UserError(f"--set {override}: tuning ends training; `multifocal tune {folder} COHORT` does it after")
    recipe: Any = with_tuned(recipes.load(file), folder, overrides=overrides)
    if not recipe.needs_training:
        raise UserError(f"{file}: is a recipe without training; predict with its name instead")
    if not is_finished(recipe, folder):
        raise UserError(
            f"{folder}: training is not finished; continue it with `multifocal train … --out {folder} --resume`"
        )
    system = kind.load(recipe, folder, device=device)
    system.seen = Seen.of_all([system.seen, seen_in(folder)])
    system.tuned = read_tuned(folder)
    system.ranges = distinct((read_ranges(folder), *system.ranges))
    return system


def model_digest(run: str | Path, *, overrides: tuple[str, ...] = ()) -> str:
    """Return what tells a system from any other: of its weights, its recipe and what was tuned.

    Args:
        run: what `load_model` takes.
        overrides: see there.

    Returns:
        SHA-256 in hexadecimal digits.

    Raises:
        UserError: there is no such run or recipe.

    Example:
        >>> model_digest("zadc-clean") == model_digest("zadc-clean", overrides=("below=-2.5",))
        False
    """
    folder, digest = models.run_folder(run), hashlib.sha256("\0".join(overrides).encode())
    if not (folder / RECIPE).is_file():
        return hashlib.sha256(recipes.load(run, overrides=overrides).model_dump_json().encode()).hexdigest()
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and file.name not in _NOT_THE_MODEL and not _NOT_THE_MODEL.intersection(name.parts):
            digest.update(name.as_posix().encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def is_finished(recipe: Recipe, folder: str | Path) -> bool:
    """Return whether a run is fitted, and tuned where its recipe says so.

    Args:
        recipe: the run's.
        folder: the run folder.

    Returns:
        Whether it is.

    Example:
        >>> is_finished(recipes.load("hie-small"), "runs/none-yet")
        False
    """
    is_tuned = recipe.tune is None or (Path(folder) / TUNED).is_file()
    return is_tuned and system_class(recipe).is_fitted(recipe, folder)


def with_tuned(recipe: Recipe, folder: str | Path, *, overrides: Sequence[str] = ()) -> Any:
    """Return a run's recipe with what was chosen for it in the place of what it says itself.

    Args:
        recipe: the run's.
        folder: the run folder; one without `tuned.json` changes nothing.
        overrides: `key=value` pairs, which come after both.

    Returns:
        The recipe.

    Raises:
        UserError: `tuned.json` is not what tuning writes, or the values do not go together.

    Example:
        >>> recipe = with_tuned(recipes.load("hie-small"), "runs/none-yet", overrides=["inference.threshold=0.4"])
        >>> recipe.inference.threshold
        0.4
    """
    tuned, section = read_tuned(folder), recipe.mask_section
    if not overrides and (tuned is None or section is None):
        return recipe
    data = recipe.model_dump(mode="json")
    if tuned is not None and section is not None:
        # What was tried then need not go with what is taken now.
        data[section] = {**data[section], **tuned.choice, "tune": None}
    for override in overrides:
        recipes.replace(data, override)
    return recipes.parse(data, where=str(Path(folder) / RECIPE))


def read_about(folder: Path) -> dict[str, Any]:
    """Return what a run's `run.json` says of it.

    Args:
        folder: the run folder.

    Returns:
        Plain values; `parts` and `cohort` are there, and what they should be.

    Raises:
        UserError: there is no such file, or it is not what training writes.
    """
    about = read_json(folder / ABOUT)
    parts = about.get("parts") if isinstance(about, dict) else None
    known = isinstance(parts, dict) and all(_is_names(parts.get(part)) for part in (*_FITTED_ON, "test"))
    if not known or not isinstance(about.get("cohort"), dict):
        raise UserError(
            f"{folder / ABOUT}: is not what `multifocal train` writes; copy it again, or train into another folder"
        )
    return about


def seen_in(folder: Path) -> Seen:
    """Return the cases that what lies in a run folder was fitted or tuned on, there or before (`start_from`).

    Args:
        folder: the run folder; one without `run.json` tells of none.

    Returns:
        The cases.

    Raises:
        UserError: `run.json` is not what training writes.
    """
    if not (folder / ABOUT).is_file():
        return Seen()
    about = read_about(folder)
    start, images, cohort = about.get("start_from"), about.get(IMAGES), about["cohort"].get("name")
    images = images if isinstance(images, dict) else {}  # runs of before there were any
    own = [SeenCase(name, part, cohort, images.get(name)) for part in _FITTED_ON for name in about["parts"][part]]
    if tuned := read_tuned(folder):
        own += [SeenCase(name, "tuned", tuned.cohort) for name in tuned.cases]
    before = Seen.from_json(start.get("seen")) if isinstance(start, dict) else Seen()
    return Seen.of_all([before, Seen(tuple(own))])


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _no_run(run: str | Path) -> UserError:
    return UserError(
        f"{run}: is not a run folder (no {RECIPE}); give the folder that `multifocal train` wrote. "
        "Pickled checkpoints are not opened: they can run any code"
    )
