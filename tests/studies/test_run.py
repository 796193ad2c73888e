"""A study's folder: what is there already, what has changed, who else is at work."""

import json
import shutil

import pytest

from multifocal import __version__, studies
from multifocal.cohorts import lesion_shares, make_folds, open_cohort
from multifocal.errors import UserError
from multifocal.files import write_text


@pytest.fixture
def run(small_study, small_cohort, fake_cells, tmp_path):
    """Begin the small study with changes, run its cells without training; return the names of those that ran."""
    fake_cells()

    def run(*overrides, out=tmp_path / "study", cohort=small_cohort, **options):
        study = studies.load(small_study, overrides=overrides)
        with studies.open_study(study, open_cohort(cohort), out, engine="local", **options) as plan:
            engine = lambda jobs: studies.run_here(jobs, resources=study.resources, slots=[""])  # noqa: E731
            outcomes = studies.run_cells(plan, engine, cohort=cohort)
        return [f"{outcome.arm}{outcome.fold}" for outcome in outcomes]

    return run


def test_a_changed_study_names_its_stale_cells_and_stops(run, tmp_path):
    run()
    with pytest.raises(
        UserError,
        match=r"2 of 4 cells were run with other settings or data: dice/fold0-seed0, dice/fold2-seed0; --rerun-stale",
    ):
        run("arms.dice.training={epochs: 2}")
    assert json.loads((tmp_path / "study/study.json").read_text())["started"][0]["engine"] == "local"
    assert run() == []


def test_stale_cells_are_set_aside_and_run_again(run, tmp_path):
    run()
    old = (tmp_path / "study/cells/dice/fold0-seed0/cell.json").read_text()
    assert run("arms.dice.training={epochs: 2}", rerun_stale=True) == ["dice0", "dice2"]
    assert (tmp_path / "study/replaced/1/dice/fold0-seed0/cell.json").read_text() == old
    assert run("arms.dice.training={epochs: 3}", rerun_stale=True) == ["dice0", "dice2"]
    assert sorted(path.name for path in (tmp_path / "study/replaced").iterdir()) == ["1", "2"]


def test_data_that_changed_make_every_cell_stale(run, small_cohort, tmp_path):
    cohort = tmp_path / "small"
    shutil.copytree(small_cohort, cohort)
    run(cohort=cohort)
    first, second, *_ = sorted(cohort.glob("1ADC_ss/*"))
    shutil.copyfile(second, first)
    with pytest.raises(UserError, match="4 of 4 cells were run with other settings or data"):
        run(cohort=cohort)


def test_cells_of_another_version_are_stale(run, tmp_path):
    run()
    for file in sorted(tmp_path.glob("study/cells/*/*/cell.json"))[:3]:
        write_text(file, json.dumps({**json.loads(file.read_text()), "version": "0.0.1"}))
    with pytest.raises(UserError, match="3 of 4 cells .* settings or data, or by another version of multifocal: dice/"):
        run()
    assert len(run(rerun_stale=True)) == 3 and run() == []


def test_a_cell_that_does_not_say_its_version_is_of_the_last_start(run, tmp_path):
    run()  # the cells say none
    about = json.loads((tmp_path / "study/study.json").read_text())
    assert about["started"][-1]["versions"].pop("multifocal") == __version__
    write_text(tmp_path / "study/study.json", json.dumps(about))
    assert run() == []
    about["started"][-1]["versions"]["multifocal"] = "0.0.1"
    write_text(tmp_path / "study/study.json", json.dumps(about))
    with pytest.raises(UserError, match="4 of 4 cells .* another version of multifocal"):
        run()


def test_a_cell_says_which_version_made_it(study, cohort, small_cohort, tmp_path):
    with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
        job = studies.jobs(plan, cohort=small_cohort)[0]
    assert job.ended(state="done").version == __version__


def test_a_cell_that_was_only_begun_can_be_stale(run, study, cohort, tmp_path):
    from multifocal import recipes

    with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
        cell = next(cell for cell in plan.grid.cells if cell.name == "dice/fold0-seed0")
        folder, fold = tmp_path / "study/cells" / cell.name, plan.grid.fold(cell)
        write_text(folder / "recipe.yaml", recipes.dump(plan.grid.recipe(cell)))
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        write_text(folder / "run.json", json.dumps({"parts": parts}))
    with pytest.raises(UserError, match="1 of 4 cells .*dice/fold0-seed0"):
        run("arms.dice.training={epochs: 2}")
    assert len(run()) == 4


def test_cells_of_other_arms_are_left_alone(run, small_study, cohort, tmp_path):
    run()
    study = studies.load(small_study, overrides=["arms={other: {loss: {name: dice}}}"])
    with studies.open_study(study, cohort, tmp_path / "study", engine="local") as plan:
        assert len(plan.states.foreign) == 4 and len(plan.states.open) == 2 and not plan.states.stale
    assert len(list((tmp_path / "study/cells").glob("*/*/cell.json"))) == 4


def test_more_folds_seeds_and_other_metrics_keep_what_is_done(run):
    run()
    assert run("folds.run=[0,1,2]") == ["dice1", "false1"]
    assert len(run("folds.run=[0,1,2]", "seeds=[0,1]")) == 6
    assert run("metrics={undefined: diagonal, rules: {tolerance: 1.0}}") == []


def test_the_study_in_the_folder_goes_on_from_there(run, small_cohort, cohort, tmp_path):
    run()
    again = studies.load(tmp_path / "study/study.yaml")
    with studies.open_study(again, cohort, tmp_path / "study", engine="local") as plan:
        assert len(plan.states.done) == 4 and not plan.states.open


def test_a_fold_file_is_used_and_one_of_another_cohort_refused(run, cohort, small_study, tmp_path):
    folds = make_folds(cohort, lesion_shares(cohort), k=4, seed=7, scheme="nested")
    folds.save(small_study.parent / "mine.json")
    assert len(run("folds={scheme: file, path: mine.json, run: [3]}")) == 2
    assert (tmp_path / "study/folds.json").read_text() == (small_study.parent / "mine.json").read_text()
    again = studies.load(tmp_path / "study/study.yaml")
    with studies.open_study(again, cohort, tmp_path / "study", engine="local") as plan:
        assert len(plan.states.done) == 2
    names = [case.name for case in cohort][:5]
    few = make_folds(cohort.subset(names), lesion_shares(cohort), k=3, scheme="nested")
    few.save(small_study.parent / "other.json")
    with pytest.raises(UserError, match=r"the folds of cohort small are not of cohort small: not in the folds: S_5"):
        run("folds={scheme: file, path: other.json}", out=tmp_path / "new")
    with pytest.raises(UserError, match=r"missing.json: no such file"):
        run("folds={scheme: file, path: missing.json}", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_two_at_a_time_are_refused(run, study, cohort, tmp_path):
    busy = pytest.raises(UserError, match="another `multifocal study` is at work there")
    with studies.open_study(study, cohort, tmp_path / "study", engine="local"), busy:
        run()
    assert len(run()) == 4


def test_a_folder_of_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no study"):
        run()
    (tmp_path / "study/mine.txt").rename(tmp_path / "study/study.json")
    with pytest.raises(UserError, match="not valid JSON"):
        run()
    (tmp_path / "study/study.json").write_text('{"format": "multifocal study 99"}')
    with pytest.raises(UserError, match="is not a study of this version"):
        run()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write: a file stands where a folder should be"):
        run(out=tmp_path / "file")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["folds={scheme: kfold, number: 3}"], "arm dice keeps the best epoch by dice, but fold 0 has no validation"),
        (["folds={scheme: nested, number: 7}"], "k is 7; nested folds of 6 subjects need 3 to 6"),
        (["folds.run=[3]"], "there is no fold 3; choose from 0 to 2"),
        (["folds={scheme: dataset}"], "the dataset gives no split"),
    ],
)
def test_folds_that_cannot_be_are_refused_before_anything_is_written(run, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        run(*overrides)
    assert not (tmp_path / "study").exists()


def test_a_damaged_outcome_names_the_file(run, tmp_path):
    run()
    file = tmp_path / "study/cells/dice/fold0-seed0/cell.json"
    file.write_text('{"arm": "dice"}')
    with pytest.raises(UserError, match=r"cell.json: fold is missing"):
        run()
    file.write_text("{")
    with pytest.raises(UserError, match=r"cell.json: not valid JSON"):
        run()


def test_a_folder_that_cannot_be_written_fails_its_cells_alone(run, tmp_path):
    run("arms={other: {loss: {name: dice}}}")
    (tmp_path / "study/cells/dice").write_text("")
    assert run() == ["dice0", "false0", "dice2", "false2"]
    found = studies.read_study(tmp_path / "study").cells
    assert {name: outcome and outcome.state for name, outcome in found.items()} == {
        "dice/fold0-seed0": None,
        "dice/fold2-seed0": None,
        "false/fold0-seed0": "done",
        "false/fold2-seed0": "done",
    }
