"""What a package exports stands alone in an editor's pop-up: it has an example that runs."""

import importlib
import inspect
import re
from pkgutil import iter_modules

import pytest

import multifocal

PACKAGES = sorted({module.name for module in iter_modules(multifocal.__path__) if module.ispkg} - {"cli"})


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_has_an_example(package):
    assert [name for name, thing in exported(package).items() if ">>>" not in (thing.__doc__ or "")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_argument_is_described(package):
    # pydoclint, in `make lint`, does this where there is more than one line.
    assert [name for name, thing in callables(package) if arguments(thing) - described(thing)] == []


def exported(package):
    module = importlib.import_module(f"multifocal.{package}")
    things = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: thing for name, thing in things.items() if inspect.isclass(thing) or inspect.isfunction(thing)}


def callables(package):
    for name, thing in exported(package).items():
        yield name, thing
        for method, found in vars(thing).items() if inspect.isclass(thing) else ():
            found = getattr(found, "__func__", found)
            if inspect.isfunction(found) and not method.startswith("_"):
                yield f"{name}.{method}", found


def arguments(thing):
    try:
        return set(inspect.signature(thing).parameters) - {"self", "cls"}
    except ValueError:  # an exception, or what is written in C
        return set()


def described(thing):
    return set(re.findall(r"^    \*{0,2}(\w+): ", inspect.getdoc(thing) or "", flags=re.MULTILINE))


def test_the_face_of_the_package_is_there_and_documented():
    assert {"losses", "metrics", "networks", "open_cohort", "load_model", "fit", "predict", "evaluate"} <= set(
        dir(multifocal)
    )
    for name in multifocal.__all__:
        assert (getattr(multifocal, name).__doc__ or "").strip(), name
