"""Recipes by name or file, with values replaced from the command line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from multifocal.config import is_yaml, parse_yaml, read_yaml, validate
from multifocal.errors import UserError, unknown_name
from multifocal.models import is_model
from multifocal.recipes.recipe import KINDS, Recipe, merged

NETWORK = "network"  # the kind of a recipe that does not say
# The files and names that are being read, each with what replaces its values, because the one before it names it.
_being_read: ContextVar[tuple[tuple[str, tuple[str, ...]], ...]] = ContextVar("_being_read", default=())
# No part of what a recipe says of a system: runs and studies of before there were any are the same systems.
_FALLBACKS = {"default": "default-adc", "hie-synthetic": "hie-synthetic-adc"}


def names() -> tuple[str, ...]:
    """Return the names of the recipes inside the package.

    Returns:
        The names, sorted.

    Example:
        >>> "default" in names()
        True
    """
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")))


def describe(name: str) -> str:
    """Return what a recipe inside the package is, and its source in brackets; nothing but the file's head is looked at.

    Args:
        name: one of `names()`.

    Returns:
        One line of text.

    Raises:
        UserError: there is no such recipe.

    Example:
        >>> describe("zadc-threshold").partition(" (")[0]
        'Z-ADC below a threshold; no training'
    """
    if name not in names():
        raise unknown_name("recipe", name, names())
    data = parse_yaml(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"), where=name)
    return f"{data['description']} ({data['source']})"


def fallback(name: str | Path) -> str | None:
    """Return the recipe that takes the place of one of the package's where the scans have no Z-ADC.

    Args:
        name: of a recipe.

    Returns:
        The other's name; None where there is none.

    Example:
        >>> fallback("default")
        'default-adc'
    """
    return _FALLBACKS.get(str(name))


def load(name: str | Path, *, overrides: Sequence[str] = ()) -> Any:
    """Return a recipe: one of the package's by name, or a YAML file of yours.

    Args:
        name: a name, or a path that ends in `.yaml` or `.yml`.
        overrides: `key=value` pairs with dotted keys (`training.epochs=5`, `preprocessing.channels.0.map=adc`); values
            are YAML.

    Returns:
        The recipe, of the class that its kind has (`multifocal.systems`).

    Raises:
        UserError: no such recipe, or an unknown key or wrong value in it.

    Example:
        >>> load("hie-small", overrides=["training.epochs=3"]).training.epochs
        3
    """
    text = str(name)
    if is_yaml(text):
        data, home = read_yaml(text), Path(text).parent
    elif text in names():
        data, home = parse_yaml(_folder().joinpath(f"{text}.yaml").read_text(encoding="utf-8"), where=text), Path()
    else:
        raise unknown_name("recipe", text, names())
    if isinstance(data, dict):
        for override in overrides:
            replace(data, override)
    with _reading(str(Path(text).resolve()) if is_yaml(text) else text, tuple(overrides), where=text):
        return parse(data, where=text, home=home)


def parse(data: Any, *, where: str, home: str | Path = "") -> Any:
    """Return the validated recipe that the data say.

    `members` of a system of systems that are one recipe several times may be one mapping: with `seeds`, a member for
    each `training.seed` (of a cascade or an ensemble, for each seed of its parts, moved as by a study), or with
    `folds`, one for each fold that the training cases are dealt into.

    Args:
        data: the mapping of a recipe.
        where: the file's name, for messages.
        home: the folder that paths in the recipe are relative to.

    Returns:
        The recipe, of the class that its kind has.

    Raises:
        UserError: an unknown kind or key, or a wrong value.

    Example:
        >>> says = {"kind": "threshold", "name": "mine", "description": "", "source": "", "map": "zadc", "below": -2.5}
        >>> parse(says, where="mine.yaml").below
        -2.5
    """
    kind = recipe_class(data, where=where)
    data = rooted(with_members(data, where=where, home=home), home)
    return validate(kind, kind.completed(data) if isinstance(data, Mapping) else data, where=where)


def with_members(data: Any, *, where: str, home: str | Path = "") -> Any:
    """Return a recipe's data with the recipes of the systems within it spelled out, and paths of runs seen from here.

    Args:
        data: the mapping of a recipe, not validated yet.
        where: the file's name, for messages.
        home: the folder that paths in the recipe are relative to.

    Returns:
        The data, new ones where something is changed.

    Raises:
        UserError: an unknown kind, no such recipe, or a wrong value in one within.

    Example:
        >>> members = ["zadc-threshold", {"recipe": "zadc-threshold", "set": {"below": -3}}]
        >>> told = with_members({"kind": "ensemble", "members": members}, where="mine.yaml")
        >>> [member["recipe"]["below"] for member in told["members"]]
        [-2.0, -3]
    """
    kind = recipe_class(data, where=where)
    for key in kind.nested if isinstance(data, Mapping) else ():
        held, within = data.get(key), f"{where}: {key}"
        if key == "members" and isinstance(held, Mapping):
            held = _repeated(held, where=where, home=Path(home))
        if isinstance(held, list):
            data = {**data, key: [_member(member, where=within, home=Path(home)) for member in held]}
        elif isinstance(held, str | Mapping):
            data = {**data, key: _member(held, where=within, home=Path(home))}
    return data


def recipe_class(data: Any, *, where: str) -> type[Recipe]:
    """Return the class of the recipe that the data say, by their `kind`.

    Args:
        data: the mapping of a recipe; what is none counts as a network's, which validation then refuses.
        where: the file's name, for messages.

    Returns:
        The class.

    Raises:
        UserError: an unknown kind.

    Example:
        >>> recipe_class({"kind": "threshold"}, where="mine.yaml").__name__
        'ThresholdRecipe'
    """
    kind = str(data.get("kind", NETWORK)) if isinstance(data, Mapping) else NETWORK
    if kind not in KINDS:
        raise UserError(f"{where}: {unknown_name('kind', kind, sorted(KINDS))}")
    return KINDS[kind].recipe_type


def rooted(data: Any, home: str | Path) -> Any:
    """Return settings whose `training.start_from`, where there is one, no longer depends on where they are read.

    A model of the package stays a name, which is the same everywhere.

    Args:
        data: of a recipe, or what changes one, not validated yet.
        home: the folder that the path is relative to; a recipe in the path's place is spelled out.

    Returns:
        The settings, new ones where something is changed.

    Raises:
        UserError: no such recipe, or a wrong value in it.

    Example:
        >>> rooted({"training": {"start_from": "runs/0"}}, "/home/me")
        {'training': {'start_from': '/home/me/runs/0'}}
    """
    training = data.get("training") if isinstance(data, Mapping) else None
    if not isinstance(training, Mapping):
        return data
    start = training.get("start_from")
    if isinstance(start, Mapping) and "recipe" in start:
        start = _member(start, where="training.start_from", home=Path(home))
    elif isinstance(start, str) and start and not is_model(start):
        start = str((Path(home) / start).absolute())
    else:
        return data
    return {**data, "training": {**training, "start_from": start}}


def dump(recipe: Recipe) -> str:
    """Return a recipe as YAML text, every default spelled out.

    Args:
        recipe: of any kind.

    Returns:
        What `load` reads.

    Example:
        >>> dump(load("zadc-threshold")).splitlines()[:2]
        ['kind: threshold', 'name: zadc-threshold']
    """
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def replace(data: dict[str, Any], override: str) -> None:
    """Replace one value in nested settings, as `key=value` with a dotted key says.

    Args:
        data: the settings, which are changed.
        override: dotted key, `=`, and the value as YAML.

    Raises:
        UserError: there is no such place.

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


@contextmanager
def _reading(name: str, overrides: tuple[str, ...], *, where: str) -> Iterator[None]:
    """Note that a recipe is being read, which the recipes within it may not name; one with other values is another."""
    before, one = _being_read.get(), (name, overrides)
    if one in before:
        via = "".join(f", by way of {Path(other).name}" for other, _ in before[before.index(one) + 1 :])
        raise UserError(f"{where}: names itself as a recipe within it{via}; name another one there")
    token = _being_read.set((*before, one))
    try:
        yield
    finally:
        _being_read.reset(token)


def _repeated(members: Mapping[str, Any], *, where: str, home: Path) -> list[Any]:
    """Return the members that one recipe with several seeds, or folds, stands for."""
    one = {key: value for key, value in members.items() if key not in ("seeds", "folds")}
    seeds, folds = members.get("seeds"), members.get("folds")
    if (seeds is None) == (folds is None):
        raise UserError(f"{where}: members of one recipe need either seeds, a list, or folds, a number")
    if folds is not None:
        if type(folds) is not int or folds < 2:
            raise UserError(f"{where}: members.folds: expected a number of at least 2, found {folds!r}")
        return [{**one, "fold": [number, folds]} for number in range(folds)]
    if not isinstance(seeds, list) or len(seeds) < 2 or any(type(seed) is not int for seed in seeds):
        raise UserError(f"{where}: members.seeds: expected a list of at least 2 whole numbers, found {seeds!r}")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{where}: members.seeds: {seeds} names a seed twice, and both members would be the same")
    said = one.get("set") or {}
    recipe = _spelled_out(one.get("recipe"), home)
    if not isinstance(said, Mapping) or not isinstance(recipe, Mapping):  # which is refused where it is read
        return [one]
    kind = recipe_class(recipe, where=f"{where}: members")
    if kind is recipe_class({}, where=where):
        return [{**one, "set": merged(said, {"training": {"seed": seed}})} for seed in seeds]
    # What has no seed of its own, such as a forest after a network, moves those of its parts, as in a study.
    moved = [kind.changed(merged(recipe, said), {}, seed=seed) for seed in seeds]
    if moved[0] == moved[1]:
        raise UserError(f"{where}: members.seeds: {recipe.get('name')} has no seed, and all members would be the same")
    return [{**one, "recipe": each, "set": {}} for each in moved]


def _member(member: Any, *, where: str, home: Path) -> Any:
    """Return a system within a system with its recipe spelled out and its run's path as seen from here."""
    if isinstance(member, str):
        member = {"recipe": member}
    if not isinstance(member, Mapping):
        return member
    member = dict(member)
    changes = member.pop("set", None) or {}
    recipe = _spelled_out(member.get("recipe"), home)
    if isinstance(recipe, Mapping):
        if not isinstance(changes, Mapping):
            raise UserError(f"{where}.set: expected a mapping of sections to values, found {changes!r}")
        member["recipe"] = rooted(merged(recipe, changes), home)
    elif changes:
        member["set"] = changes  # which validation refuses: a run is trained already
    if isinstance(member.get("run"), str) and not is_model(member["run"]):
        member["run"] = str((home / member["run"]).absolute())
    return member


def _spelled_out(recipe: Any, home: Path) -> Any:
    """Return the data of a recipe that may be named; what is no name as it is."""
    return (
        load(home / recipe if is_yaml(recipe) else recipe).model_dump(mode="json")
        if isinstance(recipe, str)
        else recipe
    )


def _position(items: dict[str, Any] | list[Any], part: str, override: str) -> Any:
    """Return the key of a section, or the number of an item in a list."""
    if isinstance(items, dict):
        return part
    if not part.isdecimal() or int(part) >= len(items):
        raise UserError(f"--set {override}: expected a position from 0 to {len(items) - 1}, found '{part}'")
    return int(part)


def _folder() -> Any:
    return files("multifocal.recipes")
