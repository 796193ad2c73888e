"""Folders of studies whose cells were never trained: masks from thresholds, scored and compared for real."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.ndimage import gaussian_filter

from multifocal.cohorts import Cohort, fingerprint, lesion_shares, make_folds, open_cohort
from multifocal.cohorts.phantom import write_phantom
from multifocal.comparison import compare, write_comparison
from multifocal.evaluation import evaluate_cohort, read_results, write_results
from multifocal.evaluation.uncertainty import evaluate_uncertainty, write_uncertainty
from multifocal.files import write_csv, write_json, write_text
from multifocal.reports import write_report
from multifocal.studies import dump, load
from multifocal.volumes import Geometry, Volume, read, write

FLAT = Geometry((24, 20), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))
ARMS = {"dice": -2.0, "dice-focal": -2.3, "tversky": -1.7, "blob-gdf": -2.6, "tlhf": -2.1, "false": -1.5}
PUBLISHED = {
    "source": "Somebody 2025, table 1",
    "data": "4 cases of theirs",
    "values": {"dice": {"Dice": 0.38, "MSD": 15.1}, "tversky": {"Dice": 0.35, "MSD": None}},
}


def make_study(out: Path, cohort: Cohort, arms: Mapping[str, float], *, epochs: int = 20, failed: bool = True) -> Path:
    """Write a study's folder: every arm is a threshold on the smoothed last map; one cell failed, another never ran."""
    published = {**PUBLISHED, "values": {arm: of for arm, of in PUBLISHED["values"].items() if arm in arms}}
    asked = {
        "name": "thresholds",
        "description": "masks from thresholds, in place of trained ones",
        "recipe": "hie-small",
        "arms": {arm: {"loss": {"name": "dice"}} for arm in arms},
        "folds": {"scheme": "kfold", "number": 3},
        "set": {"training": {"monitor": None, "patience": None}},
        "published": published,
    }
    write_text(out / "asked.yaml", yaml.safe_dump(asked))
    write_text(out / "study.yaml", dump(load(out / "asked.yaml")))
    folds = make_folds(cohort, lesion_shares(cohort), k=3, seed=0, scheme="kfold")
    folds.save(out / "folds.json")
    about = {"name": cohort.name, "layout": cohort.layout, "cases": len(cohort), "fingerprint": fingerprint(cohort)}
    start = {"at": "2026-01-01T00:00:00+00:00", "engine": "local", "versions": {"python": "3.11", "torch": "2.13"}}
    write_json(out / "study.json", {"format": "multifocal study 1", "cohort": about, "seeds": [0], "started": [start]})
    results = {}
    for number, (arm, threshold) in enumerate(arms.items()):
        home = out / "arms" / arm
        for case in cohort:
            write(home / "masks" / f"{case.name}_lesion.nii.gz", _mask(case, threshold))
        write_results(evaluate_cohort(home / "masks", cohort), home)
        results[arm] = read_results(home)
        for fold in range(3):
            _write_cell(out / "cells" / arm / f"fold{fold}-seed0", arm, number, fold, epochs=epochs, failed=failed)
    write_comparison(compare(results, samples=500), out / "comparison")
    return out


def _mask(case, threshold: float) -> Volume:
    image, brain = list(case.images.values())[-1].read(), next(iter(case.images.values())).read().array != 0
    mask = (gaussian_filter(image.array.astype(float), 0.5) < threshold) & brain
    return Volume(mask.astype(np.uint8), image.geometry)


def _write_cell(folder: Path, arm: str, number: int, fold: int, *, epochs: int, failed: bool) -> None:
    is_failed = failed and number == 1 and fold == 1
    if failed and number == 2 and fold == 2:
        return
    noise = np.random.default_rng((number, fold))
    rows = []
    for epoch in range(7 if is_failed else epochs):
        dice = 1 - 0.75 * (1 - math.exp(-epoch / (5 + number))) + noise.normal(0, 0.012)
        focal = 0.12 * math.exp(-epoch / 9) + 0.01
        value = max(0.0, (0.5 + 0.02 * number) * (1 - math.exp(-max(0, epoch - 3) / 8)) + noise.normal(0, 0.01))
        row = {"epoch": epoch, "lr": 1e-3, "seconds": 2.5, "step_ms": 200.0, "val/dice": value if epoch % 2 else ""}
        rows.append({**row, "train/dice": dice, "train/focal": focal, "train/loss": dice + focal})
    write_csv(folder / "log.csv", rows)
    outcome = {"arm": arm, "fold": fold, "seed": 0, "state": "done", "fingerprint": "0" * 64}
    done = {"seconds": 100.0 + number, "epochs": epochs, "best_epoch": epochs - 2, "step_ms": 210.0, "peak_mib": 1800.0}
    error = "the loss of epoch 7 is nan\nTraceback: <b>bold</b>"
    write_json(folder / "cell.json", {**outcome, **({"state": "failed", "error": error} if is_failed else done)})


@pytest.fixture
def study_of():
    """What makes a study's folder, for arms of one's own."""
    return make_study


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> Path:
    """A synthetic cohort of five cases."""
    folder = tmp_path_factory.mktemp("report") / "cohort"
    write_phantom(folder, cases=5, seed=3)
    return folder


@pytest.fixture(scope="session")
def study(phantom, tmp_path_factory) -> Path:
    """A study of three arms on it, without a report."""
    arms = {arm: ARMS[arm] for arm in ("dice", "tversky", "blob-gdf")}
    return make_study(tmp_path_factory.mktemp("studies") / "thresholds", open_cohort(phantom), arms)


@pytest.fixture(scope="session")
def report(study, phantom, tmp_path_factory) -> Path:
    """The first page of that study's report."""
    copy = Path(shutil.copytree(study, tmp_path_factory.mktemp("reported") / "study"))
    return write_report(copy, open_cohort(phantom))


@pytest.fixture(scope="session")
def parts_report(run_parts_study, small_cohort, tmp_path_factory) -> Path:
    """The first page of a study with an arm of three parts."""
    cohort = open_cohort(small_cohort)
    return write_report(run_parts_study(cohort, tmp_path_factory.mktemp("parts") / "study"), cohort)


@pytest.fixture
def small_study(small_cohort, tmp_path) -> Path:
    """A quick study of two arms on the small cohort, to be broken."""
    return make_study(tmp_path / "small", open_cohort(small_cohort), {"a": -1.5, "b": -2.0}, epochs=3, failed=False)


@pytest.fixture
def judged(small_study, small_cohort):
    """The small study, whose arms have been judged: a by probabilities and two members, b by members alone."""
    cohort = open_cohort(small_cohort)
    for arm in ("a", "b"):
        home = small_study / "arms" / arm
        rng, folder = np.random.default_rng(len(arm)), small_study.parent / f"predicted-{arm}"
        for case in cohort:
            mask = read(home / "masks" / f"{case.name}_lesion.nii.gz")
            shown = {
                "": mask.array,
                "parts/0-m": mask.array,
                "parts/1-m": mask.array * (rng.random(mask.array.shape) < 0.8),
            }
            for place, array in shown.items():
                volume = Volume(array.astype(np.uint8), mask.geometry)
                write(folder / place / f"{case.name}_lesion.nii.gz", volume)
                if arm == "a":
                    p = np.clip(0.1 + 0.6 * array + rng.normal(0, 0.05, array.shape), 0, 1).astype(np.float32)
                    write(folder / place / f"{case.name}_probability.nii.gz", Volume(p, mask.geometry))
        write_uncertainty(evaluate_uncertainty(folder, cohort, samples=20, at_most=(0.3, 0.05)), home)
    return small_study


@pytest.fixture
def flat_study(tmp_path) -> tuple[Path, Path]:
    """Four 2D images with instance labels, and a study of one arm on them."""
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = np.zeros((24, 20), np.uint16)
        labels[4:9, 3:8], labels[14:18, 9:15] = 1, 2
        image = (200 - 120 * (labels > 0) + rng.integers(0, 20, labels.shape)).astype(np.uint8)
        for part, array in (("images", image), ("masks", labels)):
            write(tmp_path / "flat" / part / f"i{number}.png", Volume(array, FLAT))
    cohort = open_cohort(tmp_path / "flat")
    return tmp_path / "flat", make_study(tmp_path / "flat-study", cohort, {"dark": 120.0}, epochs=2, failed=False)
