"""How sure the arms of a study are: judged by what cells keep, as `evaluate --uncertainty` judges a folder."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

from multifocal import studies
from multifocal.errors import UserError
from multifocal.evaluation import uncertainty
from multifocal.studies import pooling
from multifocal.studies.cell import run as run_cell
from multifocal.studies.folder import read_outcome, write_outcome
from multifocal.volumes import Volume, read, write

FOLDS = "folds={scheme: nested, number: 3}"
MEMBERS = ("0-a", "1-b")
evaluate_uncertainty = partial(uncertainty.evaluate_uncertainty, samples=50)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    monkeypatch.setattr(pooling, "evaluate_uncertainty", evaluate_uncertainty)


def predict(folder, name, label, rng):
    """Write a mask that mostly knows the label, with its probability."""
    noise = np.clip(0.15 + 0.6 * (label.array > 0) + rng.normal(0, 0.1, label.array.shape), 0, 1)
    write(folder / f"{name}_probability.mha", Volume(noise.astype(np.float32), label.geometry))
    write(folder / f"{name}_lesion.mha", Volume((noise > 0.5).astype(np.uint8), label.geometry))


def fill(plan, cohort, *, members=MEMBERS):
    for job in studies.jobs(plan, cohort=cohort.root):
        rng = np.random.default_rng([job.fold, job.seed, len(job.arm)])
        for name in plan.grid.fold(job.cell).test:
            for part in ("", *members):
                home = job.folder / "masks" / (f"parts/{part}" if part else "")
                predict(home, name, cohort.case(name).label.read(), rng)
        kept = {"probabilities": job.uncertainty, "uncertainty": job.uncertainty, "members": members}
        write_outcome(job.folder, job.ended(state="done", **kept))


@pytest.fixture
def conclude(small_study, cohort, tmp_path):
    def conclude(*overrides, **options):
        study = studies.load(small_study, overrides=[FOLDS, "uncertainty=true", *overrides])
        with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
            fill(plan, cohort, **options)
            studies.conclude(plan)
        return tmp_path / "study"

    return conclude


def test_an_arm_is_judged_as_one_folder_of_its_predictions(conclude, cohort, tmp_path):
    out = conclude()
    for folder in out.glob("cells/dice/*/masks"):
        shutil.copytree(folder, tmp_path / "folder", dirs_exist_ok=True)
    alone = evaluate_uncertainty(tmp_path / "folder", cohort)
    found = studies.read_study(out).uncertainty
    assert list(found) == ["dice", "false"] and found["dice"] == json.loads(json.dumps(alone.summary))
    assert found["dice"]["members"] == list(MEMBERS) and found["dice"] != found["false"]
    lines = (out / "arms/dice/uncertainty_lesions.csv").read_text().splitlines()
    assert len(lines) == 1 + len(alone.lesions)
    assert len((out / "arms/dice/uncertainty.csv").read_text().splitlines()) == 1 + len(cohort)


@pytest.mark.parametrize("own", [(), MEMBERS])
def test_members_are_those_of_all_seeds_or_the_seeds_themselves(conclude, cohort, tmp_path, own):
    out, folder = conclude("seeds=[4,5,6]", members=own), tmp_path / "folder"
    found = studies.read_study(out).uncertainty["dice"]
    names = [f"seed{seed}{part}" for seed in (4, 5, 6) for part in ([f"-{each}" for each in own] or [""])]
    assert found["members"] == [f"{place}-{name}" for place, name in enumerate(names)]
    for case in cohort:
        [masks] = [path.parent for path in out.glob(f"cells/dice/fold*-seed4/masks/{case.name}_lesion.mha")]
        homes = [masks.parents[1] / masks.parent.name.replace("seed4", f"seed{seed}") / "masks" for seed in (4, 5, 6)]
        sources = [home / f"parts/{part}" if part else home for home in homes for part in own or ("",)]
        for name, source in zip(found["members"], sources, strict=True):
            (folder / "parts" / name).mkdir(parents=True, exist_ok=True)
            for ending in ("lesion", "probability"):
                shutil.copy(source / f"{case.name}_{ending}.mha", folder / "parts" / name)
        maps = [read(home / f"{case.name}_probability.mha") for home in homes]
        mean = np.mean([one.array for one in maps], axis=0, dtype=np.float64)
        write(folder / f"{case.name}_probability.mha", Volume(mean.astype(np.float32), maps[0].geometry))
        shutil.copy(out / f"arms/dice/masks/{case.name}_lesion.mha", folder)
    assert found == json.loads(json.dumps(evaluate_uncertainty(folder, cohort).summary))


def test_seeds_of_what_is_not_trained_are_no_members(run_parts_study, cohort, tmp_path):
    out = run_parts_study(cohort, tmp_path / "study", "uncertainty=true", "seeds=[0,1]")
    found = studies.read_study(out).uncertainty
    assert list(found) == ["vote"] and found["vote"]["members"] == ["0-low", "1-middle", "2-high"]
    assert "voxel" not in found["vote"] and "agreement" in found["vote"]["case"]


def test_what_is_concluded_again_has_the_same_bytes(conclude, study, cohort):
    out = conclude()
    before = {file: file.read_bytes() for file in (out / "arms").rglob("uncertainty*")}
    conclude()
    assert len(before) == 6 and {file: file.read_bytes() for file in before} == before


def test_a_lost_file_is_missed_before_hours_of_scoring(conclude, small_study, cohort):
    out = conclude()
    lost = sorted(out.glob("cells/dice/fold1-seed0/masks/parts/1-b/*_probability.mha"))[0]
    lost.unlink()
    with pytest.raises(UserError, match=r"holds no probability of case .*; remove .*cell.json and run again"):
        conclude()


def test_a_study_that_does_not_ask_has_none(conclude, study, cohort):
    out = conclude("uncertainty=false")
    assert not studies.read_study(out).uncertainty and not list((out / "arms").rglob("uncertainty*"))


def test_cells_that_did_not_say_predict_again(small_study, cohort, tmp_path):
    """Nothing is trained twice, masks stay what they were, and a cell that is killed while it predicts goes on."""
    arms = "arms={dice: {training: {epochs: 1}}, z: {recipe: zadc-threshold}}"
    out = tmp_path / "study"

    def ran(*overrides, stop_after=None):
        study = studies.load(small_study, overrides=[FOLDS, arms, *overrides])
        with studies.open_study(study, cohort, out, engine="local") as plan:
            jobs = studies.jobs(plan, cohort=cohort.root, device="cpu")
            for job in jobs[:stop_after]:
                run_cell(job)
            studies.conclude(plan)
        return [job.cell.name for job in jobs]

    def bytes_of(pattern):
        return {file: file.read_bytes() for file in sorted(out.glob(pattern)) if file.is_file()}

    assert len(ran()) == 6
    weights, masks = bytes_of("cells/dice/*/*.safetensors"), bytes_of("cells/*/*/masks/*_lesion.mha")
    assert len(ran("uncertainty=true", stop_after=2)) == 6
    assert len(ran("uncertainty=true")) == 4 and ran("uncertainty=true") == []
    assert bytes_of("cells/dice/*/*.safetensors") == weights and bytes_of("cells/*/*/masks/*_lesion.mha") == masks
    ended = read_outcome(out / "cells/dice/fold0-seed0")
    assert (ended.members, ended.parts, ended.probabilities) == (("0-as-is", "1-flip-0"), (), True)
    # A threshold has neither probabilities nor members.
    assert read_outcome(out / "cells/z/fold0-seed0").uncertainty
    assert list(studies.read_study(out).uncertainty) == ["dice"]
    everything = bytes_of("cells/*/*/masks/**/*") | bytes_of("arms/*/uncertainty*")
    (out / "cells/dice/fold1-seed0/cell.json").unlink()
    next(out.glob("cells/dice/fold1-seed0/masks/*_entropy.mha")).unlink()
    assert ran("uncertainty=true") == ["dice/fold1-seed0"]
    assert bytes_of("cells/*/*/masks/**/*") | bytes_of("arms/*/uncertainty*") == everything
    assert ran() == []  # what was kept does no harm


def test_label_maps_are_refused_before_anything_is_trained(small_study, cohort, tmp_path):
    study = studies.load(small_study, overrides=["uncertainty=true", "metrics.rules.label_maps=target"])
    with pytest.raises(UserError, match="uncertainty is of masks, not of label maps of instances; leave it out"):
        studies.make_grid(study, cohort)


def test_what_is_no_judgement_is_told(conclude):
    out = conclude()
    (out / "arms/dice/uncertainty.json").write_text("[]")
    with pytest.raises(UserError, match="uncertainty.json: is not what `multifocal evaluate --uncertainty` writes"):
        studies.read_study(out)
