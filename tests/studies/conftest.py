"""A small study, run once; and cells that do nothing, for what happens around them."""

import sys
from pathlib import Path

import children
import pytest

from multifocal import studies
from multifocal.cohorts import open_cohort
from multifocal.studies import local

SMALL_STUDY = """
name: small
recipe: {recipe}
set: {{training: {{epochs: 4}}}}
arms:
  dice: {{loss: {{name: dice}}}}
  false: {{loss: {{name: tversky}}, network: {{options: {{features: [2, 3]}}}}}}
folds: {{scheme: nested, number: 3, run: [0, 2]}}
resources: {{memory_gib: 0.5}}
"""
FAKE = Path(__file__).parent / "fake_cell.py"


@pytest.fixture(scope="session")
def small_study(small_recipe, tmp_path_factory) -> Path:
    """Two losses on two of three folds: four cells."""
    file = tmp_path_factory.mktemp("studies") / "small.yaml"
    file.write_text(SMALL_STUDY.format(recipe=small_recipe))
    return file


@pytest.fixture(scope="session")
def start(processes, small_study, small_cohort):
    """Start `multifocal study` in a process of its own; return it."""

    def start(out, *options, **limits):
        arguments = ["study", small_study, small_cohort, "--out", out, *options]
        given = ([str(each) for each in arguments], out.with_name(f"{out.name}-screen"))
        process = processes.Process(target=children.command, args=given, kwargs=limits)
        process.start()
        return process

    return start


@pytest.fixture(scope="session")
def finished(start, tmp_path_factory) -> Path:
    """The small study, run to its end by nobody's leave."""
    out = tmp_path_factory.mktemp("finished") / "study"
    process = start(out)
    process.join()
    assert process.exitcode == 0, out.with_name("study-screen.err").read_text()
    return out


@pytest.fixture
def fake_cells(monkeypatch):
    """Let cells do as told instead of training: `how` by name of the cell, "done" where it says nothing."""

    def fake_cells(**how):
        told = ",".join(f"{name}={does}" for name, does in how.items())
        monkeypatch.setattr(local, "command", lambda module: [sys.executable, "-S", str(FAKE), told])

    return fake_cells


@pytest.fixture
def cohort(small_cohort):
    return open_cohort(small_cohort)


@pytest.fixture
def study(small_study):
    return studies.load(small_study)
