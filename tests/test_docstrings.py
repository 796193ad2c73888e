"""What a package exports stands alone in an editor's pop-up: it has an example that runs."""

import importlib
import inspect
from pkgutil import iter_modules

import pytest

import multifocal

NOT_YET = {"nnunet", "studies"}
PACKAGES = sorted({module.name for module in iter_modules(multifocal.__path__) if module.ispkg} - {"cli"} - NOT_YET)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_has_an_example(package):
    module = importlib.import_module(f"multifocal.{package}")
    exported = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    defined = {name: thing for name, thing in exported.items() if inspect.isclass(thing) or inspect.isfunction(thing)}
    assert [name for name, thing in defined.items() if ">>>" not in (thing.__doc__ or "")] == []


def test_the_face_of_the_package_is_there_and_documented():
    assert {"losses", "metrics", "networks", "open_cohort", "load_model", "fit", "predict", "evaluate"} <= set(
        dir(multifocal)
    )
    for name in multifocal.__all__:
        assert (getattr(multifocal, name).__doc__ or "").strip(), name
