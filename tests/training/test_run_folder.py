"""Claiming a run folder, and telling one run from another."""

import json
import shutil
import sys

import pytest
import torch

from multifocal.errors import UserError
from multifocal.files import locked
from multifocal.pipeline.prepare import prepare
from multifocal.systems import load_model
from multifocal.weights import read_tree, read_weights, write_tree, write_weights

fit_module = sys.modules["multifocal.training.fit"]


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_that_holds_a_run_is_left_as_it_is(train, tmp_path):
    train("training.epochs=1")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="run: already holds a run; --resume continues it, or choose another folder"):
        train("training.epochs=1")
    train("training.epochs=1", resume=True)  # it is finished
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_folder_with_other_things_in_it_is_left_alone(train, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("mine")
    for resume in (False, True):
        with pytest.raises(UserError, match="run: is not empty and holds no run; choose another folder"):
            train(resume=resume)
    assert listing(tmp_path / "run") == ["recipe.yaml"] and (tmp_path / "run" / "recipe.yaml").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder(train, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match="run: cannot write: a file stands where a folder should be"):
        train()


def test_resume_begins_a_run_where_there_is_none(train):
    assert (train("training.epochs=1", resume=True) / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        (("optimizer.lr=1e-3",), {}, r"was begun with other settings \(see recipe.yaml\)"),
        ((), {"validation": 3}, "was begun with other cases"),
        ((), {"processes": 2}, "was begun with --processes 1"),
    ],
)
def test_only_the_same_run_is_resumed(train, tmp_path, overrides, options, message):
    run = train("training.epochs=1")
    (run / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=f"run: {message}.*; choose another folder"):
        train("training.epochs=1", *overrides, resume=True, **options)


def test_a_run_is_not_resumed_on_files_that_changed(train, tmp_path):
    run = train("training.epochs=1")
    (run / "weights.safetensors").unlink()
    about = json.loads((run / "run.json").read_text())
    about["cohort"]["fingerprint"] = "0" * 64
    (run / "run.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"was begun with other data \(the files' contents differ\)"):
        train("training.epochs=1", resume=True)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "[" * 100_000, '{"parts": {"train": [["a"]], "validation": [], "test": []}, "cohort": {}}'],
)
def test_a_damaged_run_json_is_named(train, content):
    run = train("training.epochs=1")
    (run / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run.json: (is not what `multifocal train` writes|not valid JSON)"):
        train("training.epochs=1", resume=True)
    with pytest.raises(UserError, match=r"run.json: (is not what `multifocal train` writes|not valid JSON)"):
        load_model(run)


def test_a_label_that_changed_is_other_data_also_where_it_changes_the_parts(train):
    run = train("training.epochs=1")
    (run / "weights.safetensors").unlink()
    about = json.loads((run / "run.json").read_text())
    about["cohort"]["fingerprint"] = "0" * 64
    (run / "run.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="was begun with other data"):
        train("training.epochs=1", resume=True, validation=3)


def test_a_case_that_cannot_be_prepared_does_not_claim_the_folder(train, tmp_path, monkeypatch):
    def broken(case, settings, **options):
        if case.name.startswith("S_2"):
            raise UserError(f"case {case.name}: broken")
        return prepare(case, settings, **options)

    with monkeypatch.context() as patched:
        patched.setattr("multifocal.pipeline.cache.prepare", broken)
        with pytest.raises(UserError, match="case S_2-VISIT_01: broken"):
            train(cache=None)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["cache"]
    assert (train("training.epochs=1", cache=None) / "weights.safetensors").is_file()


def test_what_a_killed_write_left_is_cleared_up(train, tmp_path):
    (tmp_path / "run" / ".writing-x").mkdir(parents=True)
    (tmp_path / "run" / ".writing-x" / "run.json").write_text("{")
    run = train("training.epochs=1")
    assert not list(run.glob(".writing*"))


def test_a_state_that_is_not_one_is_named(train, tmp_path):
    run = train("training.epochs=1")
    shutil.move(run / "weights.safetensors", run / "resume.safetensors")
    with pytest.raises(UserError, match="resume.safetensors: does not hold the state of a training run"):
        train("training.epochs=1", resume=True)
    (run / "resume.safetensors").write_bytes(b"\x80\x04")
    with pytest.raises(UserError, match="resume.safetensors: is not a whole safetensors file"):
        train("training.epochs=1", resume=True)


def test_a_bit_that_flips_in_the_state_or_the_best_weights_is_noticed(train):
    for name in ("resume.safetensors", "best.safetensors"):
        run = train("training.epochs=1", out=name)
        (run / "weights.safetensors").unlink()
        content = bytearray((run / name).read_bytes())
        content[-3] ^= 4
        (run / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: is damaged .its contents do not fit its checksum"):
            train("training.epochs=1", out=name, resume=True)


def test_a_bit_that_flips_in_the_outcome_is_noticed_and_older_outcomes_are_read(train):
    file = train("training.epochs=1") / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 4
    file.write_bytes(content)
    with pytest.raises(UserError, match="weights.safetensors: is damaged .its contents do not fit its checksum"):
        load_model(file.parent, device="cpu")
    content[-3] ^= 4
    file.write_bytes(content)
    write_weights(file, read_weights(file))  # as before there were checksums
    assert load_model(file.parent, device="cpu").recipe.name == "small"


def forge(*keys, value=None):
    """Return what puts a value in a place of a state, or takes away what is there."""

    def change(state):
        for key in keys[:-1]:
            state = state[key]
        if value is None:
            del state[keys[-1]]
        else:
            state[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(
            forge(key)
            for key in ("epoch", "state_dict", "loops", "callbacks", "optimizer_states", "scores", "global_step")
        ),
        forge("callbacks", "Keeper", "rows"),
        forge("callbacks", "Keeper", "best", value="high"),
        forge("callbacks", "Keeper", "rows", value=[]),
        forge("loops", value={}),
        forge("loops", "fit_loop", value=3),
        forge("state_dict", "network.network.head.bias"),
        forge("state_dict", "network.network.head.bias", value=torch.zeros(7)),
        forge("optimizer_states", value=[]),
        forge("optimizer_states", 0, "param_groups", value=[]),
        forge("optimizer_states", 0, "state", 0, "exp_avg", value=torch.zeros(7)),
    ],
)
def test_a_forged_state_is_named(train, tmp_path, monkeypatch, change):
    def stop(*positions, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(
            "multifocal.training.module.mix", lambda *what: stop() if what[:1] == ("dropout",) and what[2] else 1
        )
        train("training.epochs=2")
    run = tmp_path / "run"
    state = read_tree(run / "resume.safetensors")
    change(state)
    write_tree(run / "resume.safetensors", state)
    with pytest.raises(UserError, match="resume.safetensors: does not hold the state of a training run"):
        train("training.epochs=2", resume=True)


def test_two_trainings_at_a_time_are_refused(train, tmp_path, monkeypatch):
    """The second finds the first at work, in its files too, and leaves all as it is."""
    began, seen = fit_module.begin_run, []

    def begin(folder, **what):
        began(folder, **what)
        (folder / ".writing-x").mkdir()
        for resume in (False, True):
            busy = "run: another training is at work there; wait for it, or choose another folder"
            with pytest.raises(UserError, match=busy):
                train("training.epochs=1", resume=resume)
        seen.extend(path.name for path in folder.iterdir())

    with monkeypatch.context() as patched:
        patched.setattr(fit_module, "begin_run", begin)
        run = train("training.epochs=1")
    assert sorted(seen) == [".writing-x", "recipe.yaml", "run.json"] and (run / "weights.safetensors").is_file()


def test_a_folder_that_the_caller_holds_is_not_held_again(train, tmp_path):
    with locked(tmp_path / "run", busy="busy"):
        assert (train("training.epochs=1", held=True) / "weights.safetensors").is_file()


def test_prepared_cases_half_written_are_cleared_up_in_the_own_cache_only(train, tmp_path):
    own, shared = tmp_path / "run" / "cache" / ".writing-x", tmp_path / "shared" / ".writing-x"
    for folder in (own, shared):
        folder.mkdir(parents=True)
    with pytest.raises(UserError, match="no case to train on"):
        train(cases=2, cache=None)
    train("training.epochs=1", cache=tmp_path / "shared")
    assert own.is_dir() and shared.is_dir()
    (tmp_path / "run" / "weights.safetensors").unlink()
    train("training.epochs=1", cache=None, resume=True)
    assert shared.is_dir() and not own.exists()
