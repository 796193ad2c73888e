"""A training killed at any moment, then resumed, ends as if nothing had happened."""

import csv
import itertools
import random
import time

import children
import pytest
import torch

from multifocal.weights import read_tree

KILLED = -9
EVERYTHING = (
    "training.seed=1",
    "training.epochs=9",
    "training.patience=2",
    "training.precision=bf16",
    "training.batch_size=1",
    "training.accumulate=2",
    "network.options.dropout=[0.2, 0.3]",
    "schedule={name: plateau, factor: 0.5, patience: 0}",
    "loss.name=tlhf",
)
MOMENTUM = ("optimizer={name: sgd, lr: 0.01, momentum: 0.9, nesterov: true}", "training.accumulate=2")
ONE_CYCLE = ("schedule={name: one-cycle, max_factor: 5}",)
EMA = ("training.ema=0.8", "training.monitor=null", "optimizer.name=adam")
SUPERVISED = (
    "network.options={features: [2, 4, 4], dropout: [0.1, 0.2, 0.3]}",
    "training.deep_supervision=[1, 0.5]",
    *EMA,
)
DENOISED = ("training.denoise={}", "training.monitor=null")
CROPS = (
    "training.monitor=null",
    "training.epochs=3",
    "sampling={crop: [16, 16, 8], per_case: 2, centred: 0.5, by: lesion, weights: burden}",
    "augmentation={affine: {p: 1}, noise: {p: 1}, flip: {}}",
)
LAST = ("training.monitor=null", "training.epochs=4")
STEP = "multifocal.training.module:SegmentationModule.training_step"


@pytest.fixture(scope="module")
def start(processes, small_cohort, small_recipe, shared_cache):
    """Start `multifocal train` in a process of its own; return it."""

    def start(out, *overrides, die=None, cache=shared_cache, resume=False):
        given = [part for override in overrides for part in ("--set", override)]
        arguments = ["train", small_recipe, small_cohort, "--out", out, "--device", "cpu", "--cache", cache, *given]
        arguments = [str(argument) for argument in arguments] + ["--resume"] * resume
        process = processes.Process(target=children.command, args=(arguments, out.with_name(f"{out.name}-screen"), die))
        process.start()
        return process

    return start


@pytest.fixture(scope="module")
def run(start):
    """Run `multifocal train` to its end, or its death; return the exit code."""

    def run(*arguments, **options):
        process = start(*arguments, **options)
        process.join()
        return process.exitcode

    return run


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """Runs that nobody interrupted, each made once."""
    root, made = tmp_path_factory.mktemp("whole"), {}

    def whole(*settings):
        if settings not in made:
            made[settings] = root / str(len(made))
            assert run(made[settings], *settings) == 0
        return made[settings]

    return whole


def log(folder):
    return [row | {"seconds": "", "step_ms": ""} for row in csv.DictReader((folder / "log.csv").open())]


def assert_same(folder, reference):
    assert log(folder) == log(reference)
    assert (folder / "weights.safetensors").read_bytes() == (reference / "weights.safetensors").read_bytes()
    one, other = read_tree(folder / "resume.safetensors"), read_tree(reference / "resume.safetensors")
    for key in ("epoch", "global_step", "scores"):
        assert one[key] == other[key]
    for key in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=0)
    assert not list(folder.glob(".writing*"))
    assert all(0 < float(row["seconds"]) < 60 for row in csv.DictReader((folder / "log.csv").open()))


def test_killed_before_every_write(run, whole, tmp_path):
    """Every file takes its name by a rename; the run is killed before the first, the second, ..., the last of them."""
    dice = [float(row["val/dice"]) for row in log(whole(*EVERYTHING))]
    records = sum(value > max(dice[:epoch], default=-1) for epoch, value in enumerate(dice))
    for count in itertools.count(1):
        out = tmp_path / str(count)
        if run(out, *EVERYTHING, die=("pathlib:Path.replace", count)) == 0:
            break
        assert not (out / "weights.safetensors").exists()
        assert run(out, *EVERYTHING, resume=True) == 0
        assert_same(out, whole(*EVERYTHING))
    # Three to claim the folder (recipe, run, what the scans are), log and state of each epoch, the best weights at each
    # record, the weights.
    assert count == 3 + 2 * len(dice) + records + 1 + 1


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (STEP, 6),
        ("multifocal.training.module:SegmentationModule.validation_step", 2),
        ("torch.optim.adamw:AdamW.step", 5),
        ("multifocal.training.run_checkpoint:RunCheckpoint.on_train_epoch_end", 3),
        ("multifocal.pipeline.cache:prepare", 4),
    ],
)
def test_killed_in_the_middle_of_things(run, whole, tmp_path, name, count):
    out, cache = tmp_path / "run", tmp_path / "cache"
    assert run(out, *EVERYTHING, die=(name, count), cache=cache) == KILLED
    assert run(out, *EVERYTHING, cache=cache, resume=True) == 0
    assert_same(out, whole(*EVERYTHING))


@pytest.mark.parametrize(
    ("settings", "name", "count"),
    [
        (MOMENTUM, "torch.optim.sgd:SGD.step", 6),
        (ONE_CYCLE, "torch.optim.adamw:AdamW.step", 9),
        (EMA, "torch.optim.adam:Adam.step", 9),
        (EMA[:1], STEP, 9),
        (SUPERVISED, STEP, 9),
        (DENOISED, STEP, 9),
    ],
    ids=["momentum", "one-cycle", "ema-last", "ema-best", "deep-supervision", "denoising"],
)
def test_every_kind_of_state_is_gone_on_with(run, whole, tmp_path, settings, name, count):
    settings = ("training.epochs=4", "training.batch_size=1", *settings)
    assert run(tmp_path / "run", *settings, die=(name, count)) == KILLED
    assert 0 < len(log(tmp_path / "run")) < 4
    assert run(tmp_path / "run", *settings, resume=True) == 0
    assert_same(tmp_path / "run", whole(*settings))


def test_crops_are_drawn_again_as_they_were(run, whole, tmp_path):
    assert run(tmp_path / "run", *CROPS, "training.workers=1", die=(STEP, 7)) == KILLED
    assert run(tmp_path / "run", *CROPS, "training.workers=1", resume=True) == 0
    assert_same(tmp_path / "run", whole(*CROPS))


@pytest.mark.slow  # at chosen moments, above, it is killed in the fast tests, too
def test_killed_again_and_again_at_any_time(start, run, whole, tmp_path):
    settings = (*EVERYTHING, "training.seed=0", "training.epochs=12", "training.patience=12")
    whole(*settings)
    began = time.monotonic()
    assert run(tmp_path / "timed", *settings) == 0
    duration = time.monotonic() - began
    chance, kills = random.Random(0), 0
    for _ in range(10):
        process = start(tmp_path / "run", *settings, resume=True)
        process.join(chance.uniform(0.2, 0.7) * duration)
        process.kill()
        process.join()
        if process.exitcode != KILLED:
            break
        kills += 1
    else:
        assert run(tmp_path / "run", *settings, resume=True) == 0
    assert kills
    assert_same(tmp_path / "run", whole(*settings))


def test_workers_change_nothing_and_resume_where_they_should(run, whole, tmp_path):
    settings = (*LAST, "training.workers=1")
    assert run(tmp_path / "run", *settings, die=(STEP, 8)) == KILLED
    assert len(log(tmp_path / "run")) == 2
    assert run(tmp_path / "run", *settings, resume=True) == 0
    assert_same(tmp_path / "run", whole(*LAST))
