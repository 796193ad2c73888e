"""Two trainings in one recipe: the first into its run, then the other; and gone on with after any kill."""

import csv
import itertools
import json
import shutil

import children
import pytest
import yaml

from multifocal import recipes
from multifocal.cohorts import Fold
from multifocal.errors import UserError
from multifocal.files import read_json
from multifocal.systems import load_model, system_class
from multifocal.training import fit

KILLED = -9
DENOISE = {"training": {"denoise": {}, "monitor": None, "epochs": 2}}
STEP = "multifocal.training.module:SegmentationModule.training_step"


@pytest.fixture(scope="session")
def stages(small_recipe, tmp_path_factory):
    """The small recipe, two epochs of it after two epochs of denoising."""
    says = yaml.safe_load(small_recipe.read_text())
    start = {"recipe": str(small_recipe), "set": DENOISE}
    says["training"] |= {"epochs": 2, "monitor": None, "patience": None, "start_from": start}
    file = tmp_path_factory.mktemp("stages") / "stages.yaml"
    file.write_text(yaml.safe_dump({**says, "name": "stages"}))
    return file


@pytest.fixture(scope="session")
def split(cohort):
    names = tuple(case.name for case in cohort)
    return Fold(train=names[:4], validation=names[4:], test=())


@pytest.fixture
def fitted(cohort, split, shared_cache, tmp_path):
    """Fit a recipe on four cases; return the run folder."""

    def fitted(recipe, out="run", **options):
        options = {"split": split, "cache": shared_cache, "progress": False, "device": "cpu", **options}
        fit(recipe, cohort, out=tmp_path / out, **options)
        return tmp_path / out

    return fitted


def weights(run):
    return (run / "weights.safetensors").read_bytes()


def log(run):
    return [row | {"seconds": "", "step_ms": ""} for row in csv.DictReader((run / "log.csv").open())]


def outcome(run):
    """What a run is, but for its times."""
    return [(weights(each), log(each), read_json(each / "run.json")) for each in (run, run / "start")]


def test_it_is_the_two_trainings_one_after_the_other(stages, small_recipe, fitted):
    run = fitted(recipes.load(stages))
    first = fitted(recipes.load(stages).start, "first")
    changes = ["training.epochs=2", "training.monitor=null", f"training.start_from={first}"]
    second = fitted(recipes.load(small_recipe, overrides=changes), "second")
    assert weights(run / "start") == weights(first) and weights(run) == weights(second)
    record, by_hand = (read_json(each / "run.json")["start_from"] for each in (run, second))
    assert record == {**by_hand, "weights": "start/weights.safetensors"}
    assert recipes.load(run / "recipe.yaml") == recipes.load(stages)
    facts = [system_class(recipes.load(each / "recipe.yaml")) for each in (run, run / "start")]
    took = [
        one.facts(recipes.load(at / "recipe.yaml"), at) for one, at in zip(facts, (run, run / "start"), strict=True)
    ]
    own = sum(float(row["seconds"]) for row in csv.DictReader((run / "log.csv").open()))
    assert took[0]["seconds"] == pytest.approx(own + took[1]["seconds"]) and took[0]["epochs"] == 2


def test_the_run_may_be_moved_and_loses_nothing_without_its_first_stage(stages, fitted, cohort, split, tmp_path):
    run = fitted(recipes.load(stages))
    case = cohort.cases[4]
    before = load_model(run, device="cpu").predict(case)
    shutil.move(run, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "start")
    again = load_model(tmp_path / "moved", device="cpu")
    assert (again.predict(case).probability.array == before.probability.array).all()
    assert again.seen.among(cohort) == dict.fromkeys(split.train, "train") | dict.fromkeys(
        split.validation, "validation"
    )
    (tmp_path / "moved/weights.safetensors").unlink()  # as if it had been killed before it wrote them
    fitted(recipes.load(stages), "moved", resume=True)
    assert not (tmp_path / "moved/start").exists()


@pytest.fixture(scope="module")
def command(processes, small_cohort, stages, shared_cache):
    """Run `multifocal train` of both stages to its end, or its death; return the exit code."""

    def command(out, die=None, resume=False):
        given = ["train", stages, small_cohort, "--out", out, "--device", "cpu", "--cache", shared_cache]
        arguments = [str(each) for each in given] + ["--resume"] * resume
        process = processes.Process(target=children.command, args=(arguments, out.with_name(f"{out.name}-screen"), die))
        process.start()
        process.join()
        return process.exitcode

    return command


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert command(out) == 0
    return outcome(out)


@pytest.mark.parametrize(
    "die",
    [
        (STEP, 5),  # in the second epoch of the first stage
        ("multifocal.training.fit:record_start", 1),  # between the stages
        ("multifocal.training.fit:check_same_start", 2),  # when the second begins
        (STEP, 11),  # in the last epoch of all
    ],
)
def test_killed_in_either_stage_or_between_them_it_ends_the_same(command, whole, tmp_path, die):
    out = tmp_path / "run"
    assert command(out, die=die) == KILLED and not (out / "weights.safetensors").exists()
    assert command(out, resume=True) == 0
    assert outcome(out) == whole


@pytest.mark.slow
def test_killed_before_every_write(command, whole, tmp_path):
    for count in itertools.count(1):
        out = tmp_path / str(count)
        if command(out, die=("pathlib:Path.replace", count)) == 0:
            break
        assert command(out, resume=True) == 0
        assert outcome(out) == whole
    # Of each stage two to claim the folder, log and state of two epochs, the weights; and the record of the first.
    assert count == 2 * (2 + 2 * 2 + 1) + 1 + 1


def test_another_first_stage_is_not_gone_on_with(stages, fitted):
    run = fitted(recipes.load(stages))
    (run / "weights.safetensors").unlink()
    changed = recipes.load(stages, overrides=["training.start_from.set.training.epochs=1"])
    with pytest.raises(UserError, match="run: was begun with other settings"):
        fitted(changed, resume=True)
    for name in ("resume.safetensors", "log.csv"):
        (run / name).unlink()
    (run / "start/weights.safetensors").write_bytes(weights(run / "start")[:-1] + b"\0")
    with pytest.raises(UserError, match="was begun with other weights than .* holds now; choose another folder"):
        fitted(recipes.load(stages), resume=True)


def test_what_would_not_fit_is_refused_before_the_first_stage(stages, fitted, tmp_path):
    recipe = recipes.load(stages, overrides=["training.start_from.set.network.options={features: [4, 4]}"])
    with pytest.raises(
        UserError, match=r"training.start_from: recipe small: tensor \S+ has the shape \[4.* there, and"
    ):
        fitted(recipe)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("{recipe: none}", "unknown recipe 'none'"),
        ("{recipe: zadc-threshold}", "start_from: recipe zadc-threshold is a threshold, and weights to start from are"),
        (
            "{recipe: hie-small, set: {training: {epoch: 1}}}",
            "start_from: recipe: training: unknown key 'epoch'; did you",
        ),
        (
            "{recipe: hie-small, set: {labels: {classes: {a: 1, b: 2}}}}",
            "start_from has other labels than what starts fr",
        ),
        ("{recipes: default}", "start_from: unknown key 'recipes'; did you mean 'recipe'?"),
        ("{set: {}}", "start_from: unknown key 'set'; choose from: recipe; training.start_from.recipe is missing"),
        ("[default]", "start_from: Input should be a valid string"),
    ],
)
def test_what_is_no_start_is_refused_when_the_recipe_is_read(stages, start, message):
    with pytest.raises(UserError) as caught:
        recipes.load(stages, overrides=[f"training.start_from={start}"])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_said_of_noise_cannot_be_tuned(small_recipe):
    changes = ["training.denoise={}", "training.monitor=null", "inference.tune={threshold: [0.4]}"]
    with pytest.raises(UserError, match="training.denoise finds noise, of which nothing is tuned: set inference.tune"):
        recipes.load(small_recipe, overrides=changes)


def test_a_file_is_relative_to_the_recipe_that_names_it(stages, tmp_path):
    shutil.copy(stages, tmp_path / "first.yaml")
    says = {**yaml.safe_load(stages.read_text()), "training": {"start_from": {"recipe": "first.yaml"}}}
    (tmp_path / "then.yaml").write_text(yaml.safe_dump(says))
    recipe = recipes.load(tmp_path / "then.yaml")
    assert len(recipe.trainings) == 3 and recipe.start.start.is_pretraining
    assert recipes.parse(yaml.safe_load(recipes.dump(recipe)), where="again") == recipe


@pytest.fixture
def ensemble(stages, tmp_path):
    """Members with a first stage, of which they differ as told."""

    def ensemble(*changes):
        members = [{"recipe": str(stages), "set": change} for change in changes]
        (tmp_path / "both.yaml").write_text(json.dumps({"kind": "ensemble", "name": "both", "members": members}))
        return recipes.load(tmp_path / "both.yaml")

    return ensemble


def seed(value):
    return {"training": {"seed": value}}


def test_members_that_start_alike_share_it(ensemble, stages, fitted):
    recipe = ensemble(seed(0), seed(1), {"training": {"start_from": {"set": seed(3)}}})
    assert len(recipe.trainings) == 5
    run = fitted(recipe)
    alone = fitted(recipes.load(stages), "alone")
    assert weights(run / "members/start0") == weights(alone / "start")
    assert weights(run / "members/0") == weights(alone) != weights(run / "members/1")
    assert not (run / "members/0/start").exists() and not (run / "members/1/start").exists()
    assert weights(run / "members/2/start") != weights(alone / "start")
    record = read_json(run / "members/1/run.json")["start_from"]
    assert record["weights"] == "../start0/weights.safetensors"
    logs = run.rglob("log.csv")
    took = sum(float(row["seconds"]) for file in logs for row in csv.DictReader(file.open()))
    assert system_class(recipe).facts(recipe, run)["seconds"] == pytest.approx(took)
    assert load_model(run, device="cpu").members[1].recipe.training.seed == 1


def test_members_of_other_cases_start_each_from_its_own(ensemble):
    recipe = ensemble(seed(0), seed(1))
    folds = [member.model_copy(update={"fold": (k, 2)}) for k, member in enumerate(recipe.members)]
    assert recipe.model_copy(update={"members": tuple(folds)}).shared_starts == ()
    assert [numbers for _, numbers in recipe.shared_starts] == [(0, 1)]


@pytest.mark.slow
def test_two_at_a_time_are_those_in_turn(ensemble, fitted, monkeypatch):
    monkeypatch.setattr("multifocal.training.members.START", "fork")
    recipe = ensemble(seed(0), seed(1))
    runs = [fitted(recipe, out, members=members) for out, members in (("turn", 1), ("two", 2))]
    for member in ("start0", "0", "1"):
        assert weights(runs[0] / "members" / member) == weights(runs[1] / "members" / member)


@pytest.mark.slow
def test_the_first_stage_of_a_cascade_has_one_for_each_fold(stages, fitted, tmp_path):
    second = {"kind": "voxels", "maps": ["zadc"], "above": 0.0}
    says = {"kind": "cascade", "name": "then", "first": str(stages), "brain": "adc", "second": second, "folds": 2}
    (tmp_path / "then.yaml").write_text(json.dumps(says))
    run = fitted(recipes.load(tmp_path / "then.yaml"))
    starts = [weights(run / "members" / name / "start") for name in ("fold0", "fold1", "first")]
    assert len(set(starts)) == 3
