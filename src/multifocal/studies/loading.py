"""Studies by name or file, and the recipes of their arms."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from multifocal import recipes
from multifocal.config import is_yaml, parse_yaml, read_yaml, validate
from multifocal.errors import UserError, unknown_name
from multifocal.recipes import Recipe, merged
from multifocal.studies.settings import FileFolds, Study


def names() -> tuple[str, ...]:
    """Return the names of the studies inside the package.

    Returns:
        The names, in order.

    Example:
        >>> "hie-losses" in names()
        True
    """
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir() if file.name.endswith(".yaml")))


def written(name: str) -> str:
    """Return the YAML text of a study inside the package, to begin one's own with.

    Args:
        name: of the study.

    Returns:
        The text, with its comments.

    Raises:
        UserError: there is no such study.

    Example:
        >>> written("demo").splitlines()[1]
        'name: demo'
    """
    if name not in names():
        raise unknown_name("study", name, names())
    return str(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


def load(name: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """Return a study: one of the package's by name, or a YAML file of yours, with its base recipe spelled out.

    Args:
        name: a name, or a path that ends in `.yaml` or `.yml`.
        overrides: `key=value` pairs with dotted keys (`set.training.epochs=5`, `folds.run=[0]`); values are YAML.

    Returns:
        The study, every arm of which was checked.

    Raises:
        UserError: no such study, an unknown key or wrong value in it or in what its arms make of the recipe.

    Example:
        >>> load("hie-losses", overrides=["folds.run=[0]"]).folds.run
        (0,)
    """
    text = str(name)
    if is_yaml(text):
        data, home = read_yaml(text), Path(text).parent
    else:
        data, home = parse_yaml(written(text), where=text), Path()
    if isinstance(data, dict):
        for override in overrides:
            recipes.replace(data, override)
        arms = data.get("arms")
        if isinstance(arms, dict):
            arms = data["arms"] = {name: recipes.rooted(arm, home) for name, arm in arms.items()}
        if "set" in data:
            data["set"] = recipes.rooted(data["set"], home)
        for holder in (data, *(arms.values() if isinstance(arms, dict) else ())):
            if isinstance(holder, dict) and isinstance(holder.get("recipe"), str):
                holder["recipe"] = _recipe(holder["recipe"], home)
            elif isinstance(holder, dict) and isinstance(holder.get("recipe"), Mapping):
                holder["recipe"] = recipes.with_members(holder["recipe"], where=text, home=home)
    study = validate(Study, data, where=text)
    if isinstance(study.folds, FileFolds):
        study = with_fold_file(study, str(home / study.folds.path))
    for arm in study.arms:
        resolve(study, arm, seed=study.seeds[0], where=text)
    return study


def with_fold_file(study: Study, path: str) -> Study:
    """Return the study with its fold file at another path; as it is where it draws its folds."""
    if not isinstance(study.folds, FileFolds):
        return study
    return study.model_copy(update={"folds": study.folds.model_copy(update={"path": path})})


def dump(study: Study) -> str:
    """Return a study as YAML text, every default spelled out.

    Args:
        study: the study.

    Returns:
        The text.

    Example:
        >>> dump(load("demo")).splitlines()[0]
        'name: demo'
    """
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def resolve(study: Study, arm: str, *, seed: int, where: str = "study.yaml") -> Recipe:
    """Return the recipe that an arm is, with a seed; an arm that needs no training keeps to what it says itself.

    Args:
        study: the study.
        arm: the arm's name.
        seed: of weights and training.
        where: what the study is called in errors.

    Returns:
        The recipe, every default spelled out.

    Raises:
        UserError: an unknown key or a wrong value, in the base, in `set` or in the arm; a pretraining.

    Example:
        >>> resolve(load("demo"), "blob-dice", seed=3).loss.name
        'blob-dice'
    """
    changes = dict(study.arms[arm] or {})
    data = changes.pop("recipe", study.recipe)
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: arms.{arm}.recipe: expected a recipe, found {data!r}")
    where = f"{where}: arm {arm}"
    kind, data = recipes.recipe_class(data, where=where), recipes.with_members(data, where=where)
    recipe = recipes.parse(merged(kind.changed(data, study.set, seed=seed), changes), where=where)
    if recipe.is_pretraining:
        raise UserError(f"{where}: training.denoise finds noise, which no score is for; set it to null")
    return recipe


def _recipe(name: str, home: Path) -> dict[str, Any]:
    """Return a recipe with every default spelled out; a file's path is relative to the study's."""
    is_file = is_yaml(name)
    return recipes.load(home / name if is_file else name).model_dump(mode="json")


def _folder() -> Any:
    return files("multifocal.studies") / "ready"
