"""Recipes by name or file, with values replaced from the command line."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from multifocal.config import parse_yaml, read_yaml, validate
from multifocal.errors import UserError, unknown_name
from multifocal.recipes.schema import AnyRecipe, Recipe, ThresholdRecipe

KINDS: dict[str, type[Recipe] | type[ThresholdRecipe]] = {"network": Recipe, "threshold": ThresholdRecipe}


def names() -> tuple[str, ...]:
    """Return the names of the recipes inside the package.

    Example:
        >>> "default" in names()
        True
    """
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")))


def load(name: str | Path, *, overrides: Sequence[str] = ()) -> AnyRecipe:
    """Return a recipe: one of the package's by name, or a YAML file of yours.

    Args:
        name: a name, or a path that ends in `.yaml` or `.yml`.
        overrides: `key=value` pairs with dotted keys (`training.epochs=5`, `preprocessing.channels.0.map=adc`); values
            are YAML.

    Raises:
        UserError: no such recipe, or an unknown key or wrong value in it.

    Example:
        >>> load("default", overrides=["training.epochs=3"]).training.epochs
        3
    """
    text = str(name)
    if text.endswith((".yaml", ".yml")):
        data = read_yaml(text)
    elif text in names():
        data = parse_yaml(_folder().joinpath(f"{text}.yaml").read_text(encoding="utf-8"), where=text)
    else:
        raise unknown_name("recipe", text, names())
    if isinstance(data, dict):
        for override in overrides:
            replace(data, override)
    return parse(data, where=text)


def parse(data: Any, *, where: str) -> AnyRecipe:
    """Return the validated recipe that the data say."""
    kind = str(data.get("kind", "network")) if isinstance(data, dict) else "network"
    if kind not in KINDS:
        raise UserError(f"{where}: {unknown_name('kind', kind, KINDS)}")
    return validate(KINDS[kind], data, where=where)  # type: ignore[type-var]


def dump(recipe: AnyRecipe) -> str:
    """Return a recipe as YAML text, every default spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def replace(data: dict[str, Any], override: str) -> None:
    """Replace one value in nested settings, as `key=value` with a dotted key says.

    Example:
        >>> settings = {"training": {"epochs": 40}}
        >>> replace(settings, "training.epochs=5")
        >>> settings
        {'training': {'epochs': 5}}
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected key=value, as in training.epochs=5")
    *parents, last = key.split(".")
    place: Any = data
    for part in parents:
        here = _position(place, part, override)
        # A section that the recipe leaves out or switches off is begun here; whether it exists, validation says.
        if isinstance(place, dict) and place.get(here) is None:
            place[here] = {}
        place = place[here]
        if not isinstance(place, dict | list):
            raise UserError(f"--set {override}: '{part}' is a value, not a section with keys")
    place[_position(place, last, override)] = parse_yaml(text, where=f"--set {key}")


def _position(items: dict[str, Any] | list[Any], part: str, override: str) -> Any:
    """Return the key of a section, or the number of an item in a list."""
    if isinstance(items, dict):
        return part
    if not part.isdecimal() or int(part) >= len(items):
        raise UserError(f"--set {override}: expected a position from 0 to {len(items) - 1}, found '{part}'")
    return int(part)


def _folder() -> Any:
    return files("multifocal.recipes")
