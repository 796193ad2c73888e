"""Fine-tuning: what a training begins with, what does not fit, and what a run folder says of it."""

import json
import shutil

import pytest
import torch

from multifocal import recipes
from multifocal.errors import UserError
from multifocal.systems import load_model
from multifocal.training.module import SegmentationModule
from multifocal.training.warm_start import read_start
from multifocal.weights import read_weights, write_weights

STILL = ("training.epochs=1", "optimizer={name: sgd, lr: 1e-30}", "training.monitor=null")


@pytest.fixture
def base(train):
    """A trained run."""
    return train("training.epochs=1", "training.monitor=null", out="base")


def weights(run):
    return read_weights(run / "weights.safetensors")


@pytest.mark.parametrize("of_run", [True, False])
@pytest.mark.parametrize("ema", ["null", "0.5"])
def test_a_training_begins_with_the_weights(train, base, of_run, ema):
    start = base if of_run else base / "weights.safetensors"
    run = train(f"training.start_from={start}", *STILL, "training.seed=5", f"training.ema={ema}")
    before, after = weights(base), weights(run)
    learned = [name for name, _ in SegmentationModule(recipes.load(run / "recipe.yaml")).network.named_parameters()]
    for name in learned:  # batch statistics move without a step
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-20)
    other = SegmentationModule(recipes.load(run / "recipe.yaml")).network.state_dict()
    assert any(not torch.equal(other[name], before[name]) for name in learned)


def test_processes_begin_with_the_weights(train, base, forked):
    run = train(f"training.start_from={base}", *STILL, processes=2, device="cpu")
    key = next(name for name in weights(base) if name.endswith("0.0.weight"))
    assert torch.equal(weights(run)[key], weights(base)[key])


def test_the_run_says_what_it_began_with(train, base, cohort):
    file = base / "weights.safetensors"
    about = json.loads((train(f"training.start_from={base}", *STILL) / "run.json").read_text())
    assert about["start_from"]["weights"] == str(file) and len(about["start_from"]["sha256"]) == 64
    assert "start_from" not in json.loads((base / "run.json").read_text())


def test_cases_that_the_weights_had_seen_stay_known(train, base, cohort):
    run = train(f"training.start_from={base}", *STILL, cases=3, validation=1)
    names = [case.name for case in cohort]
    known = dict.fromkeys(names[:4], "train") | dict.fromkeys(names[4:], "validation")
    assert load_model(run, device="cpu").seen.among(cohort) == known
    third = train(f"training.start_from={run}", *STILL, out="third", cases=2, validation=1)
    assert load_model(third, device="cpu").seen.among(cohort) == known


def test_a_resumed_run_keeps_on_without_the_file(train, base, tmp_path):
    whole = weights(train(f"training.start_from={base}", "training.monitor=null", out="whole"))
    run = train(f"training.start_from={base}", "training.monitor=null", out="run")
    (run / "weights.safetensors").unlink()
    shutil.move(base, tmp_path / "gone")
    train(f"training.start_from={base}", "training.monitor=null", out="run", resume=True)
    assert all(torch.equal(value, whole[name]) for name, value in weights(run).items())


def test_a_run_killed_in_its_first_epoch_begins_with_the_same_weights_or_not_at_all(train, base):
    settings = (f"training.start_from={base}", "training.monitor=null")
    whole = weights(train(*settings, out="run"))
    run = base.with_name("run")
    for name in ("weights.safetensors", "resume.safetensors", "log.csv"):
        (run / name).unlink()
    train(*settings, out="run", resume=True)
    assert all(torch.equal(value, whole[name]) for name, value in weights(run).items())
    for name in ("weights.safetensors", "resume.safetensors", "log.csv"):
        (run / name).unlink()
    write_weights(base / "weights.safetensors", {name: value * 2 for name, value in weights(base).items()})
    with pytest.raises(UserError, match="run: was begun with other weights than .* holds now; choose another folder"):
        train(*settings, out="run", resume=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "preprocessing.channels=[{map: adc, zscore: brain}]",
            r"tensor \S+weight has the shape \[2, 2, 3, 3, 3\] there, and \[2, 1, 3, 3, 3\] in this recipe's unet3d",
        ),
        ("network.options.features=[4, 4]", r"tensor \S+ has the shape \[2.*\] there, and \[4.*\] in this"),
        ("network.options={features: [2, 4, 4], dropout: [0, 0, 0]}", "tensor .*; start from weights of "),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_anything_is_written(train, base, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        train(f"training.start_from={base}", override, out="run")
    assert not (tmp_path / "run").exists()


def test_more_classes_than_the_network_has_are_refused(train, base, tmp_path):
    found = weights(base)
    name = next(name for name in found if name.endswith("head.bias"))
    write_weights(tmp_path / "three.safetensors", {**found, name: torch.zeros(3)})
    with pytest.raises(UserError, match=rf"three.safetensors: tensor {name} has the shape \[3\] there, and \[1\] in"):
        train(f"training.start_from={tmp_path / 'three.safetensors'}")


def test_a_tensor_that_is_missing_or_strange_is_named(train, base, tmp_path):
    found = weights(base)
    name = next(name for name in found if name.endswith("head.bias"))
    write_weights(tmp_path / "less.safetensors", {k: v for k, v in found.items() if k != name})
    write_weights(tmp_path / "more.safetensors", {**found, "strange": torch.zeros(1)})
    with pytest.raises(UserError, match=f"tensor {name} is in this recipe's network, but not there; start"):
        train(f"training.start_from={tmp_path / 'less.safetensors'}")
    with pytest.raises(
        UserError, match="tensor strange is there, but not in this recipe's network; start from weights"
    ):
        train(f"training.start_from={tmp_path / 'more.safetensors'}")


def test_a_pickle_is_never_opened(train, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="weights.pt: is not a whole safetensors file .*never opened"):
        train(f"training.start_from={tmp_path / 'weights.pt'}")
    assert not (tmp_path / "run").exists()


def test_a_file_or_run_that_is_not_there(train, tmp_path):
    with pytest.raises(UserError, match="none: no such file"):
        train(f"training.start_from={tmp_path / 'none'}")
    (tmp_path / "begun").mkdir()
    with pytest.raises(UserError, match="begun: holds no weights.safetensors; finish that training, or give a weights"):
        train(f"training.start_from={tmp_path / 'begun'}")
    with pytest.raises(UserError, match="training.start_from"):
        train("training.start_from=''")


def test_a_path_is_relative_to_the_recipes_file(small_recipe, tmp_path):
    file = tmp_path / "mine.yaml"
    text = small_recipe.read_text().replace("training: {", "training: {start_from: runs/0, ")
    file.write_text(text)
    assert recipes.load(file).training.start_from == str(tmp_path / "runs/0")
    members = "[{recipe: mine.yaml}, {recipe: hie-small, set: {training: {start_from: a}}}]"
    several = f"kind: ensemble\nname: two\nmembers: {members}\n"
    (tmp_path / "two.yaml").write_text(several)
    starts = [training.training.start_from for training in recipes.load(tmp_path / "two.yaml").trainings]
    assert starts == [str(tmp_path / "runs/0"), str(tmp_path / "a")]


def test_without_it_nothing_is_read(small_recipe):
    assert read_start(recipes.load(small_recipe)) is None
