import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from multifocal.config import Config, check_arguments, parse_yaml, read_yaml, validate
from multifocal.errors import UserError


class Round(Config):
    kind: Literal["round"]
    radius: float = Field(gt=0)


class Square(Config):
    kind: Literal["square"]
    side: float = 1.0


class Layer(Config):
    width: int = 8
    shape: Annotated[Round | Square, Field(discriminator="kind")] = Square(kind="square")


class Settings(Config):
    name: str = "x"
    on: bool = False
    layers: tuple[Layer, ...] = ()
    window: tuple[int, int] | None = None
    extra: Layer | None = None
    options: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"layer": []}, "my.yaml: unknown key 'layer'; did you mean 'layers'? Choose from: extra, layers, name, "),
        ({"extra": {"widht": 1}}, "my.yaml: extra: unknown key 'widht'; did you mean 'width'?"),
        ({"layers": [{}, {"widht": 1}]}, "my.yaml: layers.1: unknown key 'widht'; did you mean 'width'?"),
        (
            {"layers": [{"shape": {"kind": "round", "raduis": 1}}]},
            "my.yaml: layers.0.shape: unknown key 'raduis'; did you mean 'radius'? Choose from: kind, radius",
        ),
        (
            {"layers": [{"shape": {"kind": "square", "radius": 1}}]},
            "my.yaml: layers.0.shape: unknown key 'radius'; choose from: kind, side",
        ),
        ({"layers": [{"shape": {"kind": "squar"}}]}, "layers.0.shape: unknown kind 'squar'; did you mean 'square'?"),
        ({"layers": [{"shape": {"side": 1}}]}, "layers.0.shape: kind is missing"),
        ({"layers": [{"shape": {"kind": "round"}}]}, "my.yaml: layers.0.shape.radius is missing"),
        ({"layers": [{"shape": {"kind": "round", "radius": 0}}]}, "radius: Input should be greater than 0, found 0"),
        ({1: 2}, "my.yaml: unknown key '1'"),
        ({"layers": {"width": 1}}, "my.yaml: layers: Input should be a list"),
        ({"layers": [{"width": "many"}]}, "my.yaml: layers.0.width: Input should be a valid integer, found 'many'"),
        ({"layers": [{"width": True}]}, "my.yaml: layers.0.width: Input should be a valid integer, found True"),
        ({"layers": [{"width": 2.0}]}, "my.yaml: layers.0.width: Input should be a valid integer, found 2.0"),
        ({"layers": [{"width": None}]}, "my.yaml: layers.0.width: Input should be a valid integer, found None"),
        ({"on": 1}, "my.yaml: on: Input should be a valid boolean, found 1"),
        (
            {"name": 1, "on": 1},
            "my.yaml: name: Input should be a valid string, found 1; on: Input should be a valid boolean, found 1",
        ),
        ({"window": [1, 2, 3]}, "my.yaml: window"),
        ({"extra": {"shape": {"kind": "square", "side": float("inf")}}}, "Input should be a finite number, found inf"),
        ({"extra": 3}, "my.yaml: extra: Input should be a mapping, found 3"),
        ([], "my.yaml: expected a mapping of keys to values, found list"),
        (None, "my.yaml: expected a mapping of keys to values, found NoneType"),
        ("name", "my.yaml: expected a mapping of keys to values, found str"),
    ],
)
def test_problems_are_named_with_their_place_in_one_line(data, message):
    with pytest.raises(UserError) as caught:
        validate(Settings, data, where="my.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_right_is_taken_as_it_is():
    data = {"window": [2, 3], "layers": [{"width": 3, "shape": {"kind": "round", "radius": 2}}], "options": {"a": [1]}}
    found = validate(Settings, data, where="my.yaml")
    assert found.window == (2, 3)
    assert found.layers == (Layer(width=3, shape=Round(kind="round", radius=2)),)
    assert found.options == {"a": [1]}
    assert validate(Settings, {}, where="my.yaml") == Settings()


def test_a_date_is_text_where_text_is_meant():
    assert validate(Settings, parse_yaml("name: 2025-02-14", where="x"), where="x").name == "2025-02-14"


@pytest.mark.parametrize("text", ["2025-02-14: 1", "options: {2025-02-14: 1}", "layers: [{width: 1}, {2025-02-14: 1}]"])
def test_a_date_is_no_key(text):
    with pytest.raises(UserError, match="^x: the key 2025-02-14 is not text; put it in quotes$"):
        validate(Settings, parse_yaml(text, where="x"), where="x")


def deep(depth):
    nest = []
    for _ in range(depth):
        nest = [nest]
    return nest


@pytest.mark.parametrize(
    "value",
    [parse_yaml("0x" + "f" * 5000, where="x"), deep(300), deep(5000), "\ud800"],
    ids=["digits", "deep", "deeper", "half"],
)
def test_endless_numbers_and_nests_and_half_characters_are_one_line(value):
    with pytest.raises(UserError, match="^x: ") as caught:
        validate(Settings, {"options": {"a": value}}, where="x")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_byte_order_mark_is_no_part_of_yaml(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1}


def test_yaml_that_would_take_long_or_for_ever_is_refused_unread(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "long.yaml").write_text("".join(f"k{number}: {number}\n" for number in range(30_000)))
    for name, message in (
        ("pipe", "is a pipe or a device"),
        ("zero", "is a pipe"),
        ("long", "bytes where at most 262144 "),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read_yaml(tmp_path / f"{name}.yaml")
        assert str(caught.value).startswith(f"{tmp_path}/{name}.yaml: ") and ";" in str(caught.value)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().name = "y"


@pytest.mark.parametrize(
    "text", ["1e-3", "1E3", "+1e-3", "-2e+5", "1.e-3", "1.5e3", ".5e3", "12e03", "0.25", "-3", "1e0"]
)
def test_numbers_are_numbers(text):
    assert parse_yaml(f"a: {text}", where="x") == {"a": float(text)}


@pytest.mark.parametrize("text", ["1e", "e3", "1e-3e", "'1e-3'", "1e3.5", "v1e3", "."])
def test_text_stays_text(text):
    assert parse_yaml(f"a: {text}", where="x") == {"a": text.strip("'")}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_what_yaml_writes_is_read_back(value):
    assert parse_yaml(yaml.dump({"key": value}, Dumper=_NoAliases), where="x") == {"key": value}


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1: "),
        ("a: 1\n\tb: 2", "line 2: "),
        ("a: 1\n---\nb: 2", "line 2: "),
        ("a: \0", "unacceptable character"),
        ("? [1]\n: 2", "unhashable"),
        ("a: 1\nb: 2\na: 3", "line 1: key 'a' stands twice"),
        ("b:\n  - {a: 1, a: 2}", "line 2: key 'a' stands twice"),
        ("a: &x [1]\nb: *x", "line 2: aliases"),
        ("a: &x [*x]", "line 1: aliases"),
        ("a: 1\nname: 2024-13-45", "line 2: '2024-13-45' cannot be read as timestamp; correct it, or put it in quotes"),
        ("2024-13-45: 1", "line 1: '2024-13-45' cannot be read as timestamp"),
        ("a: 2024-01-01T00:00:00+99:00", "cannot be read as timestamp"),
        ("a: !!timestamp x", "'x' cannot be read as timestamp"),
        ("a: [0x_]", "line 1: '0x_' cannot be read as int"),
        ("a: !!int ''", "'' cannot be read as int"),
        ("a: !!bool foo", "'foo' cannot be read as bool"),
        ("a: " + "9" * 5000, "9' cannot be read as int"),
        ("a: 1" + ":1" * 300 + ".5", "cannot be read as float"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " * 5000, "nested too deeply"),
    ],
)
def test_bad_yaml_is_one_line_with_the_place(text, message):
    with pytest.raises(UserError, match=r"^my\.yaml: not valid YAML: ") as caught:
        parse_yaml(text, where="my.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("tag", ["apply:os.system ['touch {}']", "new:os.system ['touch {}']", "name:os.system"])
def test_objects_are_refused_and_nothing_is_run(tag, tmp_path):
    trace = tmp_path / "trace"
    with pytest.raises(UserError, match="could not determine a constructor"):
        parse_yaml(f"a: !!python/object/{tag}".format(trace), where="my.yaml")
    assert not trace.exists()


def test_files(tmp_path):
    good, binary = tmp_path / "two words.yaml", tmp_path / "binary.yaml"
    good.write_text("a: ä", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00\x80")
    assert read_yaml(good) == {"a": "ä"}
    for path, message in ((tmp_path / "none.yaml", "no such file"), (binary, "not text"), (tmp_path, "cannot read")):
        with pytest.raises(UserError, match=message) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def build(*, channels: int, widths: Sequence[int] = (1, 2), mode: Literal["fast", "slow"] | None = None) -> None: ...


class Built:
    def __init__(self, *, channels: int, widths: Sequence[int] = (1, 2)) -> None: ...


@pytest.mark.parametrize("function", [build, Built])
def test_arguments_are_checked_by_the_functions_own_types(function):
    check_arguments(function, {"widths": [3, 4]}, where="it", given=["channels"])
    check_arguments(function, {"widths": (3, 4), "channels": 1}, where="it")
    for arguments, message in (
        ({"width": [1]}, "it: unknown key 'width'; did you mean 'widths'?"),
        ({"channels": 3}, "it: unknown key 'channels'"),
        ({"widths": "abc"}, "it: widths: Input should be a list"),
        ({"widths": [1, "b"]}, "it: widths.1: Input should be a valid integer, found 'b'"),
    ):
        with pytest.raises(UserError) as caught:
            check_arguments(function, arguments, where="it", given=["channels"])
        assert message in str(caught.value)


def test_all_problems_are_in_one_message_and_a_consequence_is_none():
    data = {"nmae": 1, "on": "x", "layers": [{"shape": {"kind": "round", "raduis": 1}}], "window": "x"}
    with pytest.raises(UserError) as caught:
        validate(Settings, data, where="my.yaml")
    said = str(caught.value).removeprefix("my.yaml: ").split("; ")
    assert "unknown key 'nmae'" in said and "layers.0.shape: unknown key 'raduis'" in said
    assert "on: Input should be a valid boolean, found 'x'" in said and any(one.startswith("window") for one in said)
    assert "is missing" not in str(caught.value) and "Choose from" not in str(caught.value)


def test_of_many_problems_the_first_ten_are_told():
    with pytest.raises(UserError, match="unknown key 'a0'.*unknown key 'a9'; .*; and 5 more$"):
        validate(Settings, {f"a{number}": 1 for number in range(15)}, where="my.yaml")


def test_an_argument_that_must_be_given_is_missed():
    with pytest.raises(UserError, match="it: channels is missing"):
        check_arguments(build, {}, where="it")


def test_a_choice_lists_its_values():
    with pytest.raises(UserError, match="it: mode: Input should be 'fast' or 'slow', found 'fas'"):
        check_arguments(build, {"mode": "fas"}, where="it", given=["channels"])


def test_a_yaml_file_is_read_up_to_a_size(tmp_path):
    """A larger one may take many seconds, and is no recipe."""
    file = tmp_path / "large.yaml"
    file.write_text("a: " + "b" * (2**18 - 4) + "\n")
    assert len(read_yaml(file)["a"]) == 2**18 - 4
    file.write_text("a: " + "b" * (2**18 - 3) + "\n")
    with pytest.raises(UserError, match="large.yaml: has 262145 bytes where at most 262144 are expected; is it the"):
        read_yaml(file)
