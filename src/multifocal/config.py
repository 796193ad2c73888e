"""Frozen configuration models whose errors are meant for people."""

import inspect
import json
import re
import reprlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_type_hints

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from multifocal.errors import UserError, unknown_name
from multifocal.files import plain_file

ModelT = TypeVar("ModelT", bound=BaseModel)

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


_MOST_PROBLEMS = 10  # in one message
# Bytes; a real file has a few thousand. These take 2 s at worst. libyaml, four times as fast, is not used: it takes
# other texts for valid, and says of the rest in its own words what is wrong.
_LARGEST_YAML = 1 << 18

# YAML takes the name of the loss `false` for a truth value.
Name = Annotated[str, BeforeValidator(lambda value: "false" if value is False else value)]


class Config(BaseModel):
    """Base of every settings model: frozen, every number finite, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def validate(model: type[ModelT], data: Any, *, where: str) -> ModelT:
    """Return the validated model. Types are taken strictly: `yes` is no number, and `3.5` no count.

    Args:
        model: the settings model.
        data: what the file holds.
        where: the file's name, for the message.

    Returns:
        The model; its values are as the file holds them, defaults included.

    Raises:
        UserError: one line with all problems, and the nearest valid key for an unknown one.

    Example:
        >>> class Settings(Config):
        ...     epochs: int = 1
        >>> validate(Settings, {"epoch": 3}, where="my.yaml")
        Traceback (most recent call last):
        multifocal.errors.UserError: my.yaml: unknown key 'epoch'; did you mean 'epochs'? Choose from: epochs
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: expected a mapping of keys to values, found {type(data).__name__}")
    try:
        strange = _strange_keys(data)
        # By way of JSON, because pydantic's strict mode takes lists for tuples there only.
        text = "" if strange else json.dumps(data, default=_plain)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: holds a number of too many digits, or is nested too deeply; shorten it") from error
    if strange:
        raise UserError(f"{where}: the key {strange[0]} is not text; put it in quotes")
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A mistyped key often leaves another one missing: the typing error is the cause, and stands first.
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
        said = list(dict.fromkeys(_explain(problem, model, data) for problem in problems))
        meant = set(re.findall(r"did you mean '([^']+)'", " ".join(said)))
        said = [one for one in said if one.removesuffix(" is missing").rpartition(".")[2] not in meant]
        if len(said) > 1:  # where a name is suggested, all the others would bury the next problem
            said = [re.sub(r"(did you mean '[^']+'\?) Choose from: .*", r"\1", one) for one in said]
        more = f"; and {len(said) - _MOST_PROBLEMS} more" if len(said) > _MOST_PROBLEMS else ""
        raise UserError(f"{where}: {'; '.join(said[:_MOST_PROBLEMS])}{more}") from error


def _plain(value: Any) -> Any:
    """Return arrays and their numbers as lists and numbers, and what YAML took for a date as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _strange_keys(data: Any) -> list[Any]:
    """Return the keys, here and further in, that JSON does not take for text, such as what YAML takes for a date."""
    if isinstance(data, Mapping):
        strange = [key for key in data if not isinstance(key, str | int | float | None)]
        return strange + _strange_keys(list(data.values()))
    return [key for value in data for key in _strange_keys(value)] if isinstance(data, list | tuple) else []


def check_arguments(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    where: str,
    given: Collection[str] = (),
    also: Callable[..., Any] | None = None,
) -> None:
    """Raise a `UserError` for an argument that the function does not take, or whose type is wrong.

    Args:
        function: a function, or a class, with typed keyword arguments.
        arguments: by name.
        where: what they are for, for the message.
        given: the function's arguments that come from elsewhere.
        also: another function or class whose arguments may stand beside these.

    Raises:
        UserError: one line for the first problem, with the nearest valid name for an unknown one.

    Example:
        >>> def cube(*, side: float = 1.0) -> float:
        ...     return side**3
        >>> check_arguments(cube, {"side": "long"}, where="cube")
        Traceback (most recent call last):
        multifocal.errors.UserError: cube: side: Input should be a valid number, found 'long'
    """
    kinds = (function,) if also is None else (function, also)
    validate(_arguments_model(kinds, frozenset(given), Config), arguments, where=where)


def check_names(function: Callable[..., Any], arguments: Collection[str], *, where: str) -> None:
    """Raise a `UserError` for an argument that the function does not take, or one that is missing; values are not seen.

    Args:
        function: a function, or a class.
        arguments: the names of those that are given.
        where: what they are for, for the message.

    Raises:
        UserError: one line for the first problem, with the nearest valid name for an unknown one.

    Example:
        >>> def cube(*, side: float) -> float:
        ...     return side**3
        >>> check_names(cube, {}, where="cube")
        Traceback (most recent call last):
        multifocal.errors.UserError: cube: side is missing
    """
    parameters = inspect.signature(function).parameters
    for name in arguments:
        if name not in parameters:
            raise UserError(f"{where}: {unknown_name('key', name, parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise UserError(f"{where}: {name} is missing")


class Checked:
    """Base of frozen dataclasses whose fields must be what their annotations say: type, choices, range; finite.

    Attributes:
        called: what messages call the class where that is not its name.

    Raises:
        UserError: a `ValueError` with the argument, its value and what was expected.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Cube(Checked):
        ...     side: Positive = 1.0
        >>> Cube(side=-1.0)
        Traceback (most recent call last):
        multifocal.errors.UserError: Cube: side=-1.0; expected a number greater than 0
    """

    called: ClassVar[str] = ""

    def __post_init__(self) -> None:
        fields = {name: _python_number(value) for name, value in vars(self).items()}
        try:
            _arguments_model((type(self),), frozenset(), _Fields).model_validate(fields)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = str(problem["loc"][0])
            raise UserError(
                f"{self.called or type(self).__name__}: {where}={getattr(self, where)!r}; "
                f"expected {_expected(problem['msg'])}"
            ) from None


def is_yaml(name: str) -> bool:
    """Whether a name is that of a YAML file rather than of something inside the package.

    Args:
        name: what the user gave.

    Returns:
        True for ".yaml" and ".yml", in capitals, too.

    Example:
        >>> is_yaml("mine.yml"), is_yaml("MINE.YAML"), is_yaml("default")
        (True, True, False)
    """
    return name.lower().endswith((".yaml", ".yml"))


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file; plain values only, never objects.

    Args:
        path: the file, UTF-8 (with a byte order mark or without), of 256 KiB at most.

    Returns:
        Dicts, lists and plain values.
    """
    try:
        return parse_yaml(plain_file(path, at_most=_LARGEST_YAML).read_text(encoding="utf-8-sig"), where=str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8; name a YAML file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}") from error


def parse_yaml(text: str, *, where: str) -> Any:
    """Parse YAML text. YAML 1.1 reads `1e-3` as text; here it is the number everybody means.

    Args:
        text: the YAML.
        where: the file's name, for the message.

    Returns:
        Dicts, lists and plain values.

    Raises:
        UserError: not valid YAML, a value that is none of its type, a key twice in one section, an alias, an object.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a subclass of SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{where}: not valid YAML: {line}{' '.join(str(error.problem).split())}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{where}: not valid YAML: nested too deeply; is this the right file?") from error


class _Fields(Config):
    """Rules of values that are made in Python: of exactly that type, and of any."""

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


@cache
def _arguments_model(
    functions: tuple[Callable[..., Any], ...], given: frozenset[str], base: type[Config]
) -> type[BaseModel]:
    """Return the arguments of functions or classes, all but the given ones, as a model."""
    fields: dict[str, Any] = {}
    for function in functions:
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in given and parameter.kind is not parameter.VAR_KEYWORD:
                default = ... if parameter.default is inspect.Parameter.empty else parameter.default
                fields[name] = (hints[name], default)
    return create_model("Arguments", __base__=base, **fields)


def _python_number(value: Any) -> Any:
    """Return NumPy's number as Python's, and anything else as it is; without an import of NumPy for those without."""
    numpy = sys.modules.get("numpy")
    return value.item() if numpy is not None and isinstance(value, numpy.generic) else value


def _expected(message: str) -> str:
    """Return what pydantic says that a value should be, with its article."""
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
    article = {"number": "a ", "integer": "an ", "boolean": "a ", "tuple": "a ", "string": "a "}.get(expected, "")
    return ("a number " if expected.startswith(("greater", "less")) else article) + expected


class _Loader(yaml.SafeLoader):
    """SafeLoader that knows exponents without a decimal point, and refuses what would hide a value."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        # One value in two places: replacing it in one (`--set`) would replace it in both.
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; write the value out", problem_mark=_mark(self)
            )
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  (PyYAML's signature)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, OverflowError) as error:  # PyYAML lets them through
            value, kind = reprlib.repr(node.value), node.tag.rpartition(":")[2]
            problem = f"{value} cannot be read as {kind}; correct it, or put it in quotes if it is text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002  (PyYAML's signature)
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise yaml.MarkedYAMLError(
                problem=f"key {twice[0]!r} stands twice in one section", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def _mark(loader: yaml.SafeLoader) -> Any:
    return loader.peek_event().start_mark


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _explain(problem: Mapping[str, Any], model: type[BaseModel], data: Any) -> str:
    """Return where the problem is, as the user wrote it, and what it is."""
    path, context = problem["loc"], problem.get("ctx", {})
    keys = _keys(path, data)
    if problem["type"] == "extra_forbidden":
        what = str(unknown_name("key", str(keys.pop()), _fields(model, path[:-1])))
    elif problem["type"] == "union_tag_invalid":
        choices = re.findall(r"'([^']+)'", context["expected_tags"])
        what = str(unknown_name(context["discriminator"].strip("'"), context["tag"], choices))
    elif problem["type"] == "union_tag_not_found":
        what = f"{context['discriminator'].strip(chr(39))} is missing; it says which kind of settings these are"
    elif problem["type"] == "json_invalid":
        what = f"cannot be read: {context['error'].partition(' at line')[0]}"  # the rest speaks of our JSON
    elif problem["type"] == "missing":
        keys = keys if keys[-1:] == [path[-1]] else [*keys, path[-1]]
        return f"{'.'.join(map(str, keys))} is missing"
    else:
        what = problem["msg"].removeprefix("Value error, ")
        what = what.replace("a valid array", "a list").replace("an object", "a mapping")  # as YAML calls them
        what += "" if isinstance(problem["input"], dict | list) else f", found {problem['input']!r}"
    return ": ".join(filter(None, [".".join(map(str, keys)), what]))


def _keys(path: tuple[Any, ...], data: Any) -> list[Any]:
    """Return a pydantic location without the tags of unions, which are no keys of the data."""
    kept = []
    for part in path[:-1]:
        if (isinstance(data, Mapping) and part in data) or (isinstance(data, list | tuple) and isinstance(part, int)):
            kept.append(part)
            data = data[part]
    # A tag in the last place is one of several ways to read a value, and no key in it.
    if kept and not (isinstance(data, Mapping) and path[-1] in data):
        return kept if not (isinstance(data, list | tuple) and isinstance(path[-1], int)) else [*kept, path[-1]]
    return [*kept, *path[-1:]]


def _fields(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
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
