"""Arms tuned by nested folds, from probabilities that are made up, and from cells that are not."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from multifocal import studies
from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.reports.study_data import read_study_data
from multifocal.reports.tables import cell_lines
from multifocal.studies import pooling
from multifocal.studies.cell import run as run_cell
from multifocal.studies.folder import read_outcome, write_outcome
from multifocal.systems import Postprocess, Tuner, Tuning, postprocess
from multifocal.systems.tuning import Tuned
from multifocal.volumes import Volume, read, write

TUNE = "tune={metric: [dice, f1], threshold: [0.3, 0.5, 0.7], min_size_voxels: [0, 4], calibration: temperature}"
FOLDS = "folds={scheme: nested, number: 3}"
TUNING = Tuning(metric=("dice", "f1"), threshold=(0.3, 0.5, 0.7), min_size_voxels=(0, 4), calibration="temperature")


def fill(plan, cohort, *, without=()):
    """Write cells whose probabilities are made up, and know the label as it was."""
    for job in studies.jobs(plan, cohort=cohort.root):
        if job.cell.name in without:
            continue
        rng = np.random.default_rng([job.fold, job.seed, len(job.arm)])
        for name in plan.grid.fold(job.cell).test:
            label = cohort.case(name).label.read()
            noise = rng.normal(0, 1.5, label.array.shape)
            odds = 4.0 * (label.array > 0) - 2.0 - 0.5 * job.fold + noise
            probability = Volume(special.expit(odds).astype(np.float32), label.geometry)
            write(job.folder / "masks" / f"{name}_probability.mha", probability)
            mask = Volume((probability.array >= 0.5).astype(np.uint8), label.geometry)
            write(job.folder / "masks" / f"{name}_lesion.mha", mask)
        how = {"seconds": 36.0, "epochs": 3, "best_epoch": 1, "step_ms": 2.0, "peak_mib": 9.0}
        write_outcome(job.folder, job.ended(state="done", probabilities=job.probabilities, **how))


@pytest.fixture
def conclude(small_study, cohort, tmp_path):
    def conclude(*overrides, out="study", of=cohort, **options):
        study = studies.load(small_study, overrides=[FOLDS, TUNE, *overrides])
        with studies.open_study(study, of, tmp_path / out, engine="local") as plan:
            fill(plan, cohort, **options)
            return studies.conclude(plan), tmp_path / out

    return conclude


def choices(out, arm="dice"):
    files = sorted((out / f"arms/{arm}+tuned/tuned").iterdir())
    return {file.stem: Tuned.model_validate_json(file.read_text()) for file in files}


def concluded(out):
    names = ("arms", "comparison", "tables")
    return {file: file.read_bytes() for name in names for file in (out / name).rglob("*") if file.is_file()}


def test_a_fold_is_tuned_by_the_others(conclude, cohort):
    _, out = conclude()
    found, folds = choices(out), studies.read_study(out).folds.folds
    assert sorted(found) == [f"fold{k}-seed0" for k in range(3)]
    maps = {
        name: out / f"cells/dice/fold{k}-seed0/masks/{name}_probability.mha" for k in range(3) for name in folds[k].test
    }
    for k in range(3):
        others = [name for other in range(3) if other != k for name in folds[other].test]
        alone = Tuner({name: maps[name] for name in others}, cohort, TUNING, Postprocess()).on(others)
        tuned = found[f"fold{k}-seed0"]
        assert tuned == alone and not {*tuned.cases} & {*folds[k].test}
        for name in folds[k].test:
            expected = postprocess(read(maps[name]), Postprocess(**tuned.choice))[0].array
            assert np.array_equal(read(out / f"arms/dice+tuned/masks/{name}_lesion.mha").array, expected)
    assert any(tuned.choice != {"threshold": 0.5, "min_size_voxels": 0} for tuned in found.values())


def test_what_is_reported_is_not_what_was_looked_at(conclude, cohort, small_cohort, tmp_path):
    """Whatever the labels of a fold are, its settings are the same; those of the other folds are not."""
    _, out = conclude()
    before, fold = choices(out), studies.read_study(out).folds.folds[1]
    other = tmp_path / "other" / small_cohort.name
    shutil.copytree(small_cohort, other)
    rng = np.random.default_rng(0)
    for name in fold.test:
        file = other / cohort.case(name).label.path.relative_to(cohort.root)
        label = read(file)
        write(file, Volume(rng.permutation(label.array.ravel()).reshape(label.array.shape), label.geometry))
    # The same cells in the same folds, scored against other labels.
    grid = studies.make_grid(studies.load(out / "study.yaml"), open_cohort(other))
    grid = replace(grid, folds=studies.read_study(out).folds)
    pooling.evaluate_arms(grid, out, grid.cells, into=tmp_path / "new", workers=1)
    after = choices(tmp_path / "new")
    assert after["fold1-seed0"] == before["fold1-seed0"]
    assert after["fold0-seed0"] != before["fold0-seed0"] and after["fold2-seed0"] != before["fold2-seed0"]


def test_seeds_are_tuned_one_by_one_and_vote(conclude):
    _, out = conclude("seeds=[0,1,2]")
    found = choices(out)
    assert len(found) == 9
    for k, fold in enumerate(studies.read_study(out).folds.folds):
        for name in fold.test:
            masks = [
                postprocess(
                    read(out / f"cells/dice/fold{k}-seed{seed}/masks/{name}_probability.mha"),
                    Postprocess(**found[f"fold{k}-seed{seed}"].choice),
                )[0].array
                for seed in range(3)
            ]
            expected = np.sum(masks, axis=0) >= 2
            assert np.array_equal(read(out / f"arms/dice+tuned/masks/{name}_lesion.mha").array, expected)


def test_tuned_arms_stand_beside_untuned_ones(conclude):
    table, out = conclude("arms.z={recipe: zadc-threshold}")
    assert [row["arm"] for row in table] == ["dice", "dice+tuned", "false", "false+tuned", "z"]
    rows = {row["arm"]: row for row in table}
    assert rows["dice"]["cells"] == rows["dice+tuned"]["cells"] == 3
    assert rows["dice"]["cases"] == rows["dice+tuned"]["cases"] == 6
    assert rows["dice"]["dice"] != rows["dice+tuned"]["dice"]
    found = studies.read_study(out)
    assert list(found.arms) == [row["arm"] for row in table]
    assert found.comparison["methods"] == [row["arm"] for row in table]
    with (out / "tables/tuned.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["arm"], line["fold"]) for line in lines][:3] == [("dice", "0"), ("dice", "1"), ("dice", "2")]
    first = choices(out)["fold0-seed0"]
    assert float(lines[0]["threshold"]) == first.choice["threshold"] and lines[0]["cases"] == "4"
    assert float(lines[0]["dice untuned"]) == pytest.approx(first.untuned.means["dice"])
    assert "## Tuned" in (out / "tables/tables.md").read_text()
    (data,) = read_study_data(out)
    assert [arm.name for arm in data.arms] == [row["arm"] for row in table]
    assert [line.done for line in cell_lines(data)] == [3, 3, 3, 3, 3]


def test_one_fold_has_nothing_to_go_by(conclude):
    table, out = conclude(without=["dice/fold1-seed0", "dice/fold2-seed0"])
    assert [row["arm"] for row in table] == ["dice", "false", "false+tuned"]
    assert not (out / "arms/dice+tuned").exists()


def test_a_conclusion_that_is_stopped_is_made_again(conclude, tmp_path, monkeypatch):
    _, whole = conclude(out="whole")
    expected = {file.relative_to(whole): data for file, data in concluded(whole).items()}
    real = pooling.tune_arm

    def stopped(grid, arm, *rest, **options):
        rows = real(grid, arm, *rest, **options)
        if arm == "false":
            raise KeyboardInterrupt
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(pooling, "tune_arm", stopped)
        with pytest.raises(KeyboardInterrupt):
            conclude()
    assert not concluded(tmp_path / "study")
    _, out = conclude()
    assert {file.relative_to(out): data for file, data in concluded(out).items()} == expected


def test_a_lost_probability_is_missed_before_hours_of_scoring(conclude, study, cohort):
    _, out = conclude()
    before = concluded(out)
    sorted((out / "cells/false/fold2-seed0/masks").glob("*_probability.mha"))[0].unlink()
    with pytest.raises(UserError, match="holds no probability of case .*; remove .*cell.json and run again"):
        conclude()
    assert concluded(out) == before


def test_cells_that_kept_no_probabilities_predict_again(small_study, cohort, tmp_path):
    """Nothing is trained twice, and the masks stay what they were."""
    arms = "arms={dice: {training: {epochs: 1}}, z: {recipe: zadc-threshold}}"

    def ran(*overrides):
        study = studies.load(small_study, overrides=[FOLDS, arms, *overrides])
        with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
            jobs = studies.jobs(plan, cohort=cohort.root, device="cpu")
            for job in jobs:
                run_cell(job)
            return [job.cell.name for job in jobs], studies.conclude(plan)

    first, _ = ran()
    assert len(first) == 6 and not list((tmp_path / "study/cells").glob("*/*/masks/*_probability*"))
    cells = tmp_path / "study/cells/dice"
    kept = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in cells.glob("*/*.safetensors")}
    masks = {file: read(file).array for file in cells.glob("*/masks/*_lesion.mha")}
    again, table = ran("tune={threshold: [0.2, 0.5]}")
    assert again == [f"dice/fold{k}-seed0" for k in range(3)]  # a threshold on a map has no probabilities
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in kept} == kept
    assert all(np.array_equal(read(file).array, array) for file, array in masks.items())
    assert [row["arm"] for row in table] == ["dice", "dice+tuned", "z"]
    assert read_outcome(cells / "fold0-seed0").probabilities
    assert ran("tune={threshold: [0.2, 0.5, 0.8]}")[0] == [] and ran()[0] == []
    assert json.loads((cells / "fold0-seed0/cell.json").read_text())["probabilities"] is True


def test_a_cell_that_was_killed_before_its_run_was_tuned_goes_on(small_study, cohort, tmp_path):
    arms = "arms={dice: {training: {epochs: 1}, inference: {tune: {threshold: [0.2, 0.5], min_size_voxels: [0, 4]}}}}"
    study = studies.load(small_study, overrides=["folds={scheme: nested, number: 3, run: [0]}", arms])
    cell = tmp_path / "study/cells/dice/fold0-seed0"

    def ran():
        with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
            for job in studies.jobs(plan, cohort=cohort.root, device="cpu"):
                run_cell(job)
        return {file.name: file.read_bytes() for file in (cell / "tuned.json", *(cell / "masks").iterdir())}

    before = ran()
    (cell / "tuned.json").unlink()
    (cell / "cell.json").unlink()
    assert ran() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["folds.run=[1]"], "tune goes by the test cases of other folds, and there is one"),
        (["arms.dice.inference={tune: {threshold: [0.5]}}"], "arm dice is tuned by its recipe and by the study"),
        (["arms={z: {recipe: zadc-threshold}}"], "no arm has probabilities to tune"),
        (["tune={hysteresis: [0.9]}"], "hysteresis is above the threshold in every combination"),
    ],
)
def test_studies_that_cannot_be_tuned(small_study, cohort, overrides, message):
    study = studies.load(small_study, overrides=[FOLDS, TUNE, *overrides])
    with pytest.raises(UserError, match=message):
        studies.make_grid(study, cohort)


def test_names_of_tuned_arms_are_taken(small_study):
    with pytest.raises(UserError, match=r"a name that ends in \+tuned is that of a tuned arm"):
        studies.load(small_study, overrides=[TUNE, "arms.dice+tuned={}"])
    assert studies.load(small_study, overrides=["arms.dice+tuned={}"]).scored["dice+tuned"] == ("dice+tuned",)


def test_an_arm_tuned_by_its_recipe_needs_validation_cases(small_study, cohort):
    options = ["folds={scheme: kfold, number: 3}", "set.training={monitor: null, epochs: 1}"]
    study = studies.load(small_study, overrides=[*options, "arms.dice.inference={tune: {threshold: [0.5]}}"])
    with pytest.raises(UserError, match="arm dice is tuned on validation cases, and fold 0 has none"):
        studies.make_grid(study, cohort)
