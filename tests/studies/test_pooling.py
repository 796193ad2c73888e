"""From cells to arms, the comparison and the tables; with masks that are made up."""

import csv
import math

import numpy as np
import pytest

from multifocal import studies
from multifocal.errors import UserError
from multifocal.files import read_json, write_json
from multifocal.studies.tables import shown
from multifocal.systems import load_model
from multifocal.systems.combination import ByVolume
from multifocal.volumes import Volume, read, write


@pytest.fixture
def conclude(small_study, cohort, tmp_path):
    """Write cells with random masks, leave some out, and conclude; return the rows of the arms and the folder."""

    def conclude(*overrides, without=(), failed=()):
        study, out = studies.load(small_study, overrides=overrides), tmp_path / "study"
        with studies.open_study(study, cohort, out, engine="local") as plan:
            for job in studies.jobs(plan, cohort=cohort.root):
                if job.cell.name in without:
                    continue
                state = "failed" if job.cell.name in failed else "done"
                how = {
                    "seconds": 1800.0,
                    "epochs": 3 + job.fold,
                    "best_epoch": job.fold,
                    "step_ms": 2.0,
                    "peak_mib": 9.0,
                }
                rng = np.random.default_rng([job.fold, job.seed, len(job.arm)])
                for name in plan.grid.fold(job.cell).test if state == "done" else ():
                    label = cohort.case(name).label.read()
                    wrong = rng.uniform(size=label.array.shape) < 0.1
                    mask = (label.array > 0) ^ wrong
                    write(job.folder / "masks" / f"{name}_lesion.mha", Volume(mask.astype(np.uint8), label.geometry))
                studies.folder.write_outcome(job.folder, job.ended(state=state, **how))
            return studies.conclude(plan), out

    return conclude


def rows(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def test_several_seeds_become_one_mask_by_majority(conclude, cohort):
    _, out = conclude("seeds=[5,6,7]")
    for path in (out / "arms/dice/masks").iterdir():
        fold = next(out.glob(f"cells/dice/*/masks/{path.name}")).parents[1].name.partition("-")[0]
        masks = [read(out / f"cells/dice/{fold}-seed{seed}/masks" / path.name) for seed in (5, 6, 7)]
        votes = np.sum([mask.array for mask in masks], axis=0)
        np.testing.assert_array_equal(read(path).array, votes >= 2)
        assert not read(path).geometry.differences(masks[0].geometry)
        assert any((mask.array != (votes >= 2)).any() for mask in masks)


def test_an_arm_counts_with_the_folds_that_are_complete(conclude):
    table, out = conclude("seeds=[0,1]", failed=["dice/fold2-seed1"], without=["false/fold2-seed0"])
    assert [(row["arm"], row["cells"], row["done"], row["failed"], row["cases"]) for row in table] == [
        ("dice", 4, 3, 1, 2),
        ("false", 4, 3, 0, 2),
    ]
    assert len(rows(out / "arms/dice/cases.csv")) == 2
    found = studies.read_study(out)
    assert [found.cells[f"{arm}/fold2-seed{seed}"] for arm, seed in (("dice", 1), ("false", 0))][1] is None
    assert found.cells["dice/fold2-seed1"].state == "failed"


def test_the_comparison_is_over_the_cases_that_all_have(conclude):
    table, out = conclude(without=["dice/fold2-seed0"])
    assert [row["cases"] for row in table] == [2, 4]
    assert read_json(out / "comparison/comparison.json")["overall"]["cases"] == 2


def test_an_arm_without_any_result_is_left_out(conclude):
    table, out = conclude(without=["dice/fold0-seed0", "dice/fold2-seed0"])
    assert [row["cases"] for row in table] == [0, 4] and table[0]["dice"] is None
    assert read_json(out / "comparison/comparison.json")["methods"] == ["false"]
    assert list(studies.read_study(out).arms) == ["false"]


def test_nothing_at_all_is_no_error(conclude):
    cells = [f"{arm}/fold{fold}-seed0" for arm in ("dice", "false") for fold in (0, 2)]
    table, out = conclude(failed=cells)
    assert [row["failed"] for row in table] == [2, 2] and not (out / "comparison").exists()
    found = studies.read_study(out)
    assert not found.arms and found.comparison is None


def test_results_of_before_are_made_again(conclude, small_study, cohort):
    _, out = conclude()
    study = studies.load(
        small_study, overrides=["arms={false: {loss: {name: tversky}, network: {options: {features: [2, 3]}}}}"]
    )
    with studies.open_study(study, cohort, out, engine="local") as plan:
        studies.conclude(plan)
    assert [path.name for path in (out / "arms").iterdir()] == ["false"]


def everything(out):
    names = ("arms", "comparison", "tables")
    return {file: file.read_bytes() for name in names for file in (out / name).rglob("*") if file.is_file()}


def test_what_cannot_be_concluded_leaves_the_last_conclusion(conclude, study, cohort, monkeypatch):
    _, out = conclude()
    before = everything(out)
    lost = sorted((out / "cells/false/fold2-seed0/masks").iterdir())[-1]
    kept = lost.read_bytes()
    lost.unlink()
    with studies.open_study(study, cohort, out, engine="local") as plan:
        begun = []
        with pytest.raises(UserError, match="holds no mask"):
            studies.conclude(plan, progress=begun.append)
        assert not begun and everything(out) == before
        lost.write_bytes(kept)

        def full(*arguments, **options):
            raise UserError("tables: cannot write: the disk is full")

        with monkeypatch.context() as patched, pytest.raises(UserError, match="the disk is full"):
            patched.setattr("multifocal.studies.pooling.write_tables", full)
            studies.conclude(plan)
        assert len(before) > 10 and everything(out) == before
        (out / "tables/published.csv").write_text("of a study that had published numbers")
        studies.conclude(plan)
    assert everything(out) == before and not list(out.glob(".*"))


def test_a_lost_mask_names_the_cure(conclude, small_study, cohort):
    _, out = conclude()
    next((out / "cells/dice/fold0-seed0/masks").iterdir()).unlink()
    plan = studies.open_study(studies.load(small_study), cohort, out, engine="local")
    with (
        plan as plan,
        pytest.raises(UserError, match="holds no mask of case .*; remove .*fold0-seed0/cell.json and run"),
    ):
        studies.conclude(plan)


def test_tables_say_what_arms_cost_and_how_they_do_by_share_and_size(conclude):
    _, out = conclude()
    arms, strata, sizes = (rows(out / "tables" / f"{name}.csv") for name in ("arms", "strata", "sizes"))
    assert [(row["epochs"], row["epochs_to_best"], row["step_ms"], row["hours"]) for row in arms] == [
        ("4.0", "2.0", "2.0", "1.0")
    ] * 2
    for row in arms:
        cases = rows(out / "arms" / row["arm"] / "cases.csv")
        values = [float(case["dice"]) for case in cases if not math.isnan(float(case["dice"]))]
        assert float(row["dice"]) == pytest.approx(np.mean(values))
        by_share = [each for each in strata if each["arm"] == row["arm"]]
        assert sum(int(each["cases"]) for each in by_share) == len(cases)
        lesions = rows(out / "arms" / row["arm"] / "lesions.csv")
        by_size = [each for each in sizes if each["arm"] == row["arm"]]
        assert sum(int(each["true"]) for each in by_size) == sum(lesion["kind"] == "true" for lesion in lesions)
        assert sum(int(each["false"]) for each in by_size) == sum(lesion["kind"] == "false" for lesion in lesions)
    assert not (out / "tables/published.csv").exists()


def test_published_numbers_stand_beside_ours_and_are_called_theirs(conclude):
    published = "published={source: Somebody 2020, data: their data, values: {false: {Dice: 0.5, MSD: null}}}"
    _, out = conclude(published)
    (row,) = rows(out / "tables/published.csv")
    assert row["arm"] == "false" and row["theirs: Dice"] == "0.5" and row["theirs: MSD"] == ""
    assert row["ours: dice"] == rows(out / "tables/arms.csv")[1]["dice"]
    text = (out / "tables/tables.md").read_text()
    assert "Theirs: Somebody 2020; their data. Not our data: the columns do not compare." in text
    assert read_json(out / "study.json")["published"]["values"] == {"false": {"Dice": 0.5, "MSD": None}}


def test_numbers_are_shown_short():
    assert [shown(value) for value in (0.12345, 99.9996, 12345.6, 7, None, "a|b")] == [
        "0.123", "100.000", "12346", "7", "–", "a|b",
    ]  # fmt: skip


BOTH = "combined={both: {of: [dice, false], combine: {rule: volume, below_ml: 0.02}}}"


def test_a_combined_arm_is_what_the_rule_makes_of_the_masks_of_others(conclude):
    table, out = conclude(BOTH, "seeds=[0,1]", "published={source: a, data: b, values: {both: {DSC: 0.5}}}")
    rule = ByVolume(below_ml=0.02)
    assert sorted(path.name for path in (out / "arms/both/masks").glob("*_lesion.mha")) == sorted(
        path.name for path in (out / "arms/dice/masks").glob("*_lesion.mha")
    )
    for path in (out / "arms/both/masks").glob("*_lesion.mha"):
        small, large = (read(out / f"arms/{arm}/masks" / path.name) for arm in ("dice", "false"))
        np.testing.assert_array_equal(read(path).array, rule([small.array, large.array], small.geometry.voxel_ml))
    [row] = [row for row in table if row["arm"] == "both"]
    assert (row["cells"], row["done"], row["cases"], row["hours"]) == (8, 8, 4, 4.0)
    assert list(read_json(out / "comparison/comparison.json")["overall"]["methods"]) == ["dice", "false", "both"]
    found = studies.read_study(out)
    assert list(found.arms) == ["dice", "false", "both"] and not any(name.startswith("both") for name in found.cells)
    assert rows(out / "tables/published.csv")[0]["theirs: DSC"] == "0.5"


def test_a_combined_arm_waits_for_what_it_is_made_of(conclude):
    table, out = conclude(BOTH, without=["dice/fold0-seed0", "false/fold2-seed0"])
    assert [row["arm"] for row in table] == ["dice", "false"] and not (out / "arms/both").exists()
    table, _ = conclude(BOTH, without=["dice/fold0-seed0"])
    assert [(row["arm"], row["cases"]) for row in table] == [("dice", 2), ("false", 4), ("both", 2)]


def test_label_maps_are_not_combined(small_study, cohort):
    study = studies.load(small_study, overrides=[BOTH, "metrics.rules.label_maps=both"])
    with pytest.raises(UserError, match="combined is made of masks, not of label maps"):
        studies.make_grid(study, cohort)


PARTS = ["0-low", "1-middle", "2-high"]


def test_the_parts_of_an_arm_are_pooled_and_scored_beside_it(run_parts_study, cohort, tmp_path):
    out = run_parts_study(cohort, tmp_path / "study", "seeds=[0,1]")
    found = studies.read_study(out)
    assert found.parts["one"] == {} and list(found.parts["vote"]) == PARTS and list(found.arms) == ["vote", "one"]
    cases = {row["case"] for row in found.arms["vote"].rows}
    assert cases == {case.name for case in cohort}
    for number, part in enumerate(PARTS):
        assert found.masks("vote", part) == out / "arms/vote/parts" / part / "masks"
        model = load_model("zadc-threshold", overrides=[f"below={(-1.5, -2.0, -2.5)[number]}"])
        for case in cohort:
            mask = read(found.masks("vote", part) / f"{case.name}_lesion.mha")
            np.testing.assert_array_equal(mask.array, model.predict(case).mask.array)
    same = [
        [{key: value for key, value in row.items() if value == value} for row in of.rows]
        for of in (found.parts["vote"]["1-middle"], found.arms["one"])
    ]
    assert sorted(map(repr, same[0])) == sorted(map(repr, same[1]))
    # Only arms are compared.
    assert read_json(out / "comparison/comparison.json")["methods"] == ["vote", "one"]


def test_an_arm_with_a_cell_of_before_there_were_parts_has_none(run_parts_study, cohort, tmp_path):
    out = run_parts_study(cohort, tmp_path / "study")
    [file, _] = sorted(out.glob("cells/vote/*/cell.json"))
    ended = read_json(file)
    assert ended.pop("parts") == PARTS
    write_json(file, ended)
    run_parts_study(cohort, out)
    assert studies.read_study(out).parts == {"vote": {}, "one": {}} and not (out / "arms/vote/parts").exists()
