"""What commit 8a783c5 wrote is still read and gone on with: runs, evaluations, studies (`make.py` made them).

Only the command line and public functions are used, so that this outlives any rebuilding. Where torch or the processor
is another than what wrote the folders, the last bits of a training may differ: there, numbers are compared within a
tolerance.
"""

import csv
import hashlib
import json
import shutil
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from safetensors.numpy import load_file

from multifocal.cli import run
from multifocal.weights import read_weights, write_weights

WRITTEN = Path(__file__).parent / "fixtures" / "written_by_8a783c5"
TOLD = json.loads((WRITTEN / "told.json").read_text(encoding="utf-8"))
CPUS = Path("/proc/cpuinfo")
# Processors of other makers have as wide registers, and sum in another order.
SAME_BITS = TOLD["written with"] == {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()} and (
    CPUS.exists() and "GenuineIntel" in CPUS.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module", autouse=True)
def desk(tmp_path_factory):
    """A copy of the folders, beside the cohort that they are of, as the working directory."""
    folder = tmp_path_factory.mktemp("old") / "desk"
    shutil.copytree(WRITTEN, folder)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "warnoptions", list(sys.warnoptions))
        assert said("data phantom cohort --cases 6 --seed 3") == 0
        yield folder
    torch.set_num_threads(threads)


def said(command: str) -> int:
    """Run `multifocal` as a user does, and return its exit code."""
    torch.set_num_threads(1)
    with pytest.raises(SystemExit) as left, warnings.catch_warnings():
        run(command.split())
    return left.value.code or 0


def public(name: str, module: str) -> Any:
    """Return a public function: the package's own where it has one, else a module's."""
    return getattr(import_module("multifocal"), name, None) or getattr(import_module(module), name)


def voxels(folder: str) -> dict[str, str]:
    images = {path.name: SimpleITK.ReadImage(str(path)) for path in sorted(Path(folder).glob("*.mha"))}
    return {
        name: hashlib.sha256(SimpleITK.GetArrayFromImage(image).tobytes()).hexdigest() for name, image in images.items()
    }


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_then(weights: Path) -> str:
    """Return the hash of a file of weights as it was written then, without a checksum in it."""
    old = Path("as-then.safetensors")
    write_weights(old, read_weights(weights))
    return hashlib.sha256(old.read_bytes()).hexdigest()


def check_voxels(folder: str, told: dict[str, str]) -> None:
    found = voxels(folder)
    assert found == told if SAME_BITS else found.keys() == told.keys()


def test_a_finished_run_predicts_the_masks_it_predicted():
    assert said("predict run cohort --out masks --device cpu --probabilities") == 0
    check_voxels("masks", TOLD["masks"])


def test_a_finished_run_is_loaded_in_python():
    case = public("open_cohort", "multifocal.cohorts")("cohort").case("PHANTOM_005-VISIT_01")
    mask = public("load_model", "multifocal.systems")("run", device="cpu").predict(case).mask.array
    assert mask.shape == case.label.read().geometry.size
    if SAME_BITS:  # SimpleITK, by which the hash was taken, counts the axes backwards
        found = hashlib.sha256(np.ascontiguousarray(mask.T).tobytes()).hexdigest()
        assert found == TOLD["masks"]["PHANTOM_005-VISIT_01_lesion.mha"]


def test_a_finished_run_is_not_trained_again(capfd):
    assert said("train tiny.yaml cohort --out run --device cpu --resume") == 0
    assert capfd.readouterr().out == "run: this run is finished; predict with it\n"


def test_a_killed_run_resumes_to_the_weights_it_would_have_had():
    before = rows("unfinished/log.csv")
    assert said("train tiny.yaml cohort --out unfinished --device cpu --resume") == 0
    assert rows("unfinished/log.csv")[:2] == before  # times, too: these epochs were not trained again
    assert len(rows("unfinished/log.csv")) == 4
    weights = Path("unfinished/weights.safetensors")
    if SAME_BITS:
        assert as_then(weights) == TOLD["weights"]
    found, told = load_file(weights), load_file("run/weights.safetensors")
    assert found.keys() == told.keys()
    for name in told:
        np.testing.assert_allclose(found[name], told[name], rtol=0, atol=0 if SAME_BITS else 1e-3)


def test_an_evaluation_is_compared_with_one_of_today():
    assert said("predict zadc-threshold cohort --out threshold") == 0
    assert said("evaluate threshold cohort --out today --threshold 0.2 --matching iou") == 0
    assert said("compare old=scores today=today --out comparison --samples 100") == 0
    means = {(row["group"], row["method"], row["metric"]): row["mean"] for row in rows("comparison/table.csv")}
    old = json.loads(Path("scores/summary.json").read_text(encoding="utf-8"))["overall"]["metrics"]
    assert float(means["all", "old", "dice"]) == pytest.approx(old["dice"]["mean"], rel=1e-12)


def test_an_evaluation_that_was_stopped_is_finished(capfd):
    """Cases are kept for the place and the version that scored them; elsewhere they are scored again."""
    assert Path("stopped/unfinished.jsonl").is_file()
    assert said("predict zadc-threshold cohort --out masks-of-the-stopped") == 0
    capfd.readouterr()
    assert said("evaluate masks-of-the-stopped cohort --out stopped") == 0
    assert "1 kept cases are of other settings or files" in capfd.readouterr().err
    assert said("evaluate masks-of-the-stopped cohort --out in-one-go") == 0
    for name in ("cases.csv", "lesions.csv", "summary.json"):
        assert Path("stopped", name).read_bytes() == Path("in-one-go", name).read_bytes()
    assert not Path("stopped/unfinished.jsonl").exists()


def test_an_evaluation_is_not_overwritten(capfd):
    assert said("evaluate masks cohort --out scores") == 2
    assert "already holds an evaluation" in capfd.readouterr().err


def test_a_study_goes_on_with_its_missing_cell_alone():
    """Finished cells are not touched, and the comparison is the one there would have been."""
    finished = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("study/cells").rglob("*.*")}
    assert len([path for path in finished if path.name == "cell.json"]) == 3
    assert said("study small.yaml cohort --out study --device cpu --workers 1") == 0
    assert all((path.read_bytes(), path.stat().st_mtime_ns) == before for path, before in finished.items())
    assert not Path("study/replaced").exists()
    cell = Path("study/cells/ici/fold1-seed0")
    assert json.loads((cell / "cell.json").read_text(encoding="utf-8"))["state"] == "done"
    check_voxels(cell / "masks", TOLD["masks of the missing cell"])
    if SAME_BITS:
        assert as_then(cell / "weights.safetensors") == TOLD["weights of the missing cell"]
        assert rows("study/comparison/table.csv") == rows("table_of_the_study.csv")
    assert said("report study") == 0
    assert Path("study/report/index.html").is_file()
