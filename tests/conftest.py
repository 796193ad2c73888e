"""Fixtures for all tests: the real data beside the project (skips where it is absent), a small cohort, processes."""

import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from multifocal.cohorts import Cohort, open_cohort
from multifocal.volumes import Geometry, Volume, read, write

# Sums in one order, however many cores are free; before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(str(Path(__file__).parent))  # processes of their own import `children`
# No test is timed: a busy machine must not fail one. Draws are the same on every machine and in every run.
hypothesis.settings.register_profile("multifocal", deadline=None, derandomize=True)
hypothesis.settings.load_profile("multifocal")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real data are not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def bonbid(shared_data: Path) -> Path:
    folder = shared_data / "bonbid-hie" / "BONBID2023_Train"
    if not folder.is_dir():
        pytest.skip("the BONBID-HIE cases are not beside the project")
    return folder


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory) -> Path:
    """Six cases in the layout of BONBID-HIE: 20×22×9, oblique, the first without lesion, the fourth coronal."""
    root = tmp_path_factory.mktemp("cohorts") / "small"
    for number in range(6):
        size, directions = (20, 22, 9), _tilt(8.0 * number)
        if number == 3:
            size, directions = (20, 9, 22), directions[:, [0, 2, 1]] * (1, 1, -1)
        write_case(root, f"S_{number}-VISIT_01", size=size, directions=directions, lesion=number != 0, seed=number)
    return root


@pytest.fixture(scope="session")
def two_classes(small_cohort, tmp_path_factory) -> Cohort:
    """The small cohort, each lesion in two halves, 4 in the lower slices, which are bright, and 2 in the upper ones."""
    root = tmp_path_factory.mktemp("two") / "cohort"
    shutil.copytree(small_cohort, root)
    for case in open_cohort(root):
        volume = read(case.label.path)
        half = np.indices(volume.array.shape)[int(np.argmin(volume.array.shape))] < min(volume.array.shape) // 2
        label = np.where(volume.array > 0, np.where(half, 4, 2), 0).astype(np.uint8)
        write(case.label.path, Volume(label, volume.geometry))
        adc = case.images["adc"]
        write(adc.path, Volume(adc.read().array + np.float32(3000) * (label == 4), volume.geometry))
    return open_cohort(root)


def write_case(root: Path, name: str, *, size, directions, lesion: bool, seed: int) -> None:
    """Write one ball of a brain, its lesion (a smaller ball) and its Z-ADC."""
    rng = np.random.default_rng(seed)
    grid = Geometry(size, (2.0, 2.0, 3.0), tuple(rng.uniform(-50, 50, 3)), tuple(directions.ravel()))
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij"))
    brain = (axes**2).sum(0) < 0.8
    centre = rng.uniform(-0.4, 0.4, (3, 1, 1, 1))
    label = brain & (((axes - centre) ** 2).sum(0) < 0.1) & lesion
    adc = np.where(brain, rng.normal(1200, 80, size) - 500.0 * label, 0)
    zadc = np.where(brain, rng.normal(0, 1, size) - 3.0 * label, 0)
    for file, array in (
        (f"1ADC_ss/{name}-ADC_ss.mha", adc.astype(np.float32)),
        (f"2Z_ADC/Zmap_{name}-ADC_smooth2mm_clipped10.mha", zadc.astype(np.float32)),
        (f"3LABEL/{name}_lesion.mha", label.astype(np.float32)),
    ):
        write(root / file, Volume(array, grid))


def _tilt(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


SMALL_RECIPE = """
name: small
description: seconds to train
source: tests
preprocessing:
  kind: brain-box
  brain: adc
  channels: [{map: adc, zscore: brain}, {map: zadc, range: [0, 3]}]
augmentation:
  noise: {p: 0.5, std: [0.0, 0.1]}
  flip: {p: 0.5, axes: [0]}
network:
  name: unet3d
  options: {features: [2, 4], dropout: [0.0, 0.2]}
loss: {name: dice-focal}
optimizer: {name: adamw, lr: 3e-2}
training: {epochs: 3, batch_size: 2, monitor: dice, precision: 32}
"""


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory) -> Path:
    """A recipe that trains in seconds, as a user would write it."""
    file = tmp_path_factory.mktemp("recipes") / "small.yaml"
    file.write_text(SMALL_RECIPE)
    return file


@pytest.fixture(scope="session")
def run_parts_study():
    """Run a study of a vote of three thresholds, which has parts, and of a threshold, which has none, into a folder."""
    from multifocal import studies
    from multifocal.studies.cell import run

    named = {"low": -1.5, "middle": -2.0, "high": -2.5}
    members = [{"recipe": "zadc-threshold", "set": {"name": name, "below": value}} for name, value in named.items()]
    vote = {"kind": "ensemble", "name": "vote", "members": members, "combine": {"rule": "vote"}}
    overrides = [f"arms={json.dumps({'vote': {'recipe': vote}, 'one': {'recipe': 'zadc-threshold'}})}"]

    def run_parts_study(cohort: Cohort, out: Path, *more: str) -> Path:
        study = studies.load("demo", overrides=[*overrides, "folds={scheme: kfold, number: 2}", *more])
        with studies.open_study(study, cohort, out, engine="local") as plan:
            for job in studies.jobs(plan, cohort=cohort.root):
                run(job)
            studies.conclude(plan)
        return out

    return run_parts_study


@pytest.fixture(scope="session")
def processes() -> multiprocessing.context.BaseContext:
    """What starts processes that have the package imported already, untouched by what this one has computed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["multifocal.training", "multifocal.systems", "multifocal.cli.main", "monai.losses"])
    return context
