"""A registry: names in, things out, and every mistake told."""

import sys
from importlib.metadata import EntryPoint

import pytest

from multifocal import registry
from multifocal.errors import UserError
from multifocal.registry import Registry


@pytest.fixture
def shapes():
    shapes = Registry("shape")

    @shapes.register("cube")
    def cube(*, side: float = 1.0) -> float:
        """Volume of a cube.

        More about cubes.
        """
        return side**3

    return shapes


def package(tmp_path, monkeypatch, **modules):
    """Make an importable package of our own kind, `shapes_of_ours`, and forget it again."""
    folder = tmp_path / "shapes_of_ours"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from multifocal.registry import Registry\nSHAPES = Registry('s', package=__name__)\n"
    )
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("shapes_of_ours", *(f"shapes_of_ours.{name}" for name in modules)):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import shapes_of_ours

    return shapes_of_ours.SHAPES


def test_it_is_a_mapping_in_the_order_of_registering(shapes):
    shapes.register("ball", lambda: "round")
    assert shapes.names() == tuple(shapes) == ("cube", "ball") and len(shapes) == 2
    assert "ball" in shapes and "bal" not in shapes and 3 not in shapes
    assert shapes["cube"] is shapes.get("cube") and shapes["cube"](side=2.0) == 8.0
    assert shapes.describe("cube") == "Volume of a cube." and shapes.describe("ball") == ""


def test_a_taken_name_says_by_whom_and_stays(shapes):
    with pytest.raises(ValueError, match="shape name 'cube' is taken by .*cube"):
        shapes.register("cube", int)
    assert shapes["cube"]() == 1.0


def test_a_definition_that_is_run_again_takes_its_own_place(shapes):
    definition, told = "def ball(*, radius=1.0):\n    return {}", {"__name__": "notebook"}
    for number in (1, 2):
        exec(definition.format(number), told)
        shapes.register("ball", told["ball"])
        assert shapes["ball"]() == number
    with pytest.raises(ValueError, match="shape name 'ball' is taken by notebook.ball"):
        shapes.register("ball", int)
    shapes.register("nothing", lambda: 0)
    with pytest.raises(ValueError, match="is taken by .*<lambda>"):  # two of these may be anything
        shapes.register("nothing", lambda: 1)


@pytest.mark.parametrize("name", ["cub", "", 3, None])
def test_an_unknown_name_lists_those_there_are(shapes, name):
    with pytest.raises(UserError, match=f"unknown shape '{name}'.*: cube"):
        shapes.get(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sid": 2.0}, "options of shape cube: unknown key 'sid'; did you mean 'side'"), ({"side": "two"}, "side")],
)
def test_options_are_checked_without_a_call(shapes, options, message):
    with pytest.raises(UserError, match=message):
        shapes.check_options("cube", options)
    shapes.check_options("cube", {"side": 2})


def test_options_have_a_type_and_a_default(shapes):
    assert shapes.options("cube") == {"side": (float, 1.0)}


def test_a_new_file_of_the_package_is_all_it_takes(tmp_path, monkeypatch):
    register = "from shapes_of_ours import SHAPES\nSHAPES.register({!r}, {})\n"
    shapes = package(tmp_path, monkeypatch, ball=register.format("ball", "int"), rod=register.format("rod", "str"))
    assert shapes.names() == ("ball", "rod") and shapes["rod"] is str


def test_an_import_that_fails_is_tried_again(tmp_path, monkeypatch):
    shapes = package(tmp_path, monkeypatch, ball="import a_module_that_is_missing\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
            shapes.names()


def test_a_broken_package_of_somebody_else_is_left_out_and_said(monkeypatch, shapes):
    shapes = Registry("shape", group="multifocal.shapes")
    shapes.register("int", int)
    broken = EntryPoint("theirs", "a_module_that_is_missing", "multifocal.shapes")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    with pytest.warns(UserWarning, match="entry point theirs = a_module_that_is_missing cannot be imported"):
        assert shapes.names() == ("int",)
