import re
import tomllib
from pathlib import Path

from multifocal.versions import PACKAGES, versions

NO_NUMBERS = {"lazy-loader", "pooch", "pydantic", "pyyaml", "rich", "safetensors", "typer"}


def test_every_package_that_a_plain_installation_computes_with_is_named():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.match(r"[\w-]+", package)[0] for package in project["dependencies"]} - NO_NUMBERS
    assert needed <= set(PACKAGES)
    assert needed | {"python", "multifocal"} <= set(versions())
