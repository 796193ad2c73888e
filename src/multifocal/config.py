"""Frozen configuration models whose errors are meant for people."""

import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from multifocal.errors import UserError, unknown_name

ModelT = TypeVar("ModelT", bound=BaseModel)


class Config(BaseModel):
    """Base of every settings model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def validate(model: type[ModelT], data: Any, *, where: str) -> ModelT:
    """Return the validated model.

    Args:
        model: the settings model.
        data: what the file holds.
        where: the file's name, for the message.

    Raises:
        UserError: one line for the first problem, with the nearest valid key for an unknown one.
    """
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a mapping of keys to values, found {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        *parents, last = problem["loc"] or ("",)
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = str(unknown_name("key", str(last), _fields(model, parents)))
            raise UserError(f"{where}: {'.'.join(map(str, parents)) or 'top level'}: {hint}") from error
        more = f" ({error.error_count() - 1} more problems)" if error.error_count() > 1 else ""
        value = "" if isinstance(problem["input"], dict | list) else f", found {problem['input']!r}"
        raise UserError(f"{where}: {path}: {problem['msg'].removeprefix('Value error, ')}{value}{more}") from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; plain values only, never objects."""
    try:
        return parse_yaml(Path(path).read_text(encoding="utf-8"), where=str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read as text: {error}") from error


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML text. YAML 1.1 reads `1e-3` as text; here it is the number everybody means."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a subclass of SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader that knows exponents without a decimal point."""


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _fields(model: type[BaseModel], path: list[Any]) -> list[str]:
    """Return the keys that are valid at a path inside a model; tags of unions pick the member that has them."""
    candidates: list[type[BaseModel]] = [model]
    for part in path:
        inner = [m for c in candidates if part in c.model_fields for m in _models(c.model_fields[part].annotation)]
        tagged = [c for c in candidates if any(part in get_args(f.annotation) for f in c.model_fields.values())]
        candidates = inner or tagged or candidates
    return sorted({name for c in candidates for name in c.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models inside an annotation such as `tuple[A | B, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
