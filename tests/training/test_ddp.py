"""Two data-parallel processes on the CPU."""

import csv
import os
import signal
import sys
import time
from dataclasses import replace

import children
import pytest
import torch

from multifocal import networks, recipes
from multifocal.cohorts import open_cohort
from multifocal.errors import UserError
from multifocal.metrics import evaluate_case
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import TrainingSet
from multifocal.systems import load_model
from multifocal.training.ddp import run_in_processes
from multifocal.training.loop import NetworkTraining, _training_loader, _validation_loader


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def start(processes, small_cohort, small_recipe, shared_cache, tmp_path):
    """Start a training in two processes, with three validation cases for them to share."""
    root = tmp_path / "cohort"
    for part, numbers in (("train", (1, 2, 3)), ("val", (0, 4, 5))):
        for file in small_cohort.rglob("*.mha"):
            if any(f"S_{number}-" in file.name for number in numbers):
                target = root / f"small_{part}" / file.relative_to(small_cohort)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(file)

    def start(out, *options):
        arguments = ["train", small_recipe, root, "--out", out, "--cache", shared_cache, "--device", "cpu"]
        arguments += ["--processes", "2", "--set", "optimizer.lr=1e-2", *options]
        screen = out.with_name(f"{out.name}-screen")
        process = processes.Process(target=children.command, args=([str(a) for a in arguments], screen))
        process.start()
        return process

    return start


def log(run):
    return [row | {"seconds": "", "step_ms": ""} for row in csv.DictReader((run / "log.csv").open())]


def test_two_processes_train_and_validate_one_model(start, tmp_path):
    process = start(tmp_path / "run", "--set", "training.batch_size=1", "--set", "optimizer.lr=3e-2")
    process.join()
    assert process.exitcode == 0
    rows = log(tmp_path / "run")
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    model, dice = load_model(tmp_path / "run", device="cpu"), []
    for case in open_cohort(tmp_path / "cohort" / "small_val"):
        label = case.label.read()
        mask = model.predict(case).mask.array
        dice.append(evaluate_case(mask, label.array, spacing=label.geometry.spacing)["dice"])
    assert len(dice) == 3 and 0 < sum(dice) < 3
    assert max(float(row["val/dice"]) for row in rows) == pytest.approx(sum(dice) / 3, rel=1e-6)
    told = (tmp_path / "run-screen.err").read_text().splitlines()
    assert [line.split(":")[0] for line in told] == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]  # each once


@pytest.mark.slow
def test_two_processes_killed_and_resumed_end_as_if_nothing_had_happened(start, tmp_path):
    start(tmp_path / "whole", "--set", "training.epochs=20").join()
    process = start(tmp_path / "run", "--set", "training.epochs=20")
    until((tmp_path / "run" / "resume.safetensors").exists)
    process.kill()
    process.join()
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    process = start(tmp_path / "run", "--set", "training.epochs=20", "--resume")
    process.join()
    assert process.exitcode == 0 and log(tmp_path / "run") == log(tmp_path / "whole")
    one, other = ((tmp_path / run / "weights.safetensors").read_bytes() for run in ("run", "whole"))
    assert one == other


# Slices of a 2D network and crops of a 3D one, on lesions and by burden, with lesions of other cases pasted in.
PASTED = ("augmentation.paste={p: 0.5}", "training.batch_size=1")
SAMPLINGS = {
    "crops": (
        *PASTED,
        "sampling={crop: [8, 8, 8], per_case: 2, centred: 0.5, by: lesion, weights: burden}",
        "inference.window=[8, 8, 8]",
    ),
    "slices": (
        *PASTED,
        "sampling={slices: 3, centred: 0.5}",
        "network={name: monai-unet-2d, options: {channels: [4, 8], strides: [2]}}",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_two_processes_train_on_crops_and_slices_and_resume_exactly(start, sampling, tmp_path):
    options = [part for one in (*SAMPLINGS[sampling], "training.epochs=8") for part in ("--set", one)]
    process = start(tmp_path / "whole", *options)
    process.join()
    assert process.exitcode == 0 and len(log(tmp_path / "whole")) == 8
    process = start(tmp_path / "run", *options)
    until((tmp_path / "run" / "resume.safetensors").exists)
    process.kill()
    process.join()
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    process = start(tmp_path / "run", *options, "--resume")
    process.join()
    assert process.exitcode == 0 and log(tmp_path / "run") == log(tmp_path / "whole")
    one, other = ((tmp_path / run / "weights.safetensors").read_bytes() for run in ("run", "whole"))
    assert one == other


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_two_processes_see_the_samples_of_one(cohort, small_recipe, shared_cache, job, sampling):
    recipe = recipes.load(small_recipe, overrides=SAMPLINGS[sampling])
    training = TrainingSet(
        list(cohort)[:5],
        Cache(shared_cache, recipe.preprocessing),
        augmentation=recipe.augmentation,
        dimensions=networks.dimensions(recipe.network.name),
        seed=0,
        sampling=recipe.sampling,
    )

    def seen(rank, processes):
        told = replace(job, recipe=recipe, training=training, processes=processes)
        return [(images.numpy().tobytes(), target.numpy().tobytes()) for images, target in _training_loader(told, rank)]

    alone, shared = seen(0, 1), [seen(rank, 2) for rank in (0, 1)]
    assert len(set(alone)) == len(alone) > 3  # no two batches are the same
    taken = [batch for pair in zip(*shared, strict=True) for batch in pair]
    assert taken[: len(alone)] == alone and set(taken) == set(alone)


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_of_a_training(start, tmp_path):
    process = start(tmp_path / "run", "--set", "training.epochs=5000")
    until((tmp_path / "run" / "resume.safetensors").exists)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    told = (tmp_path / "run-screen.err").read_text().splitlines()
    assert len([line for line in told if not line.startswith("epoch ")]) == 1


def test_an_error_of_a_process_comes_home(forked, tmp_path):
    with pytest.raises(UserError, match="^scan.mha: too dark; light it up$"):
        run_in_processes(children.fail, tmp_path, "user", processes=2)
    assert not any(alive(int(file.read_text())) for file in tmp_path.iterdir())


def test_a_killed_process_is_explained(forked, tmp_path):
    with pytest.raises(UserError, match=r"a training process was killed \(SIGKILL\), likely for want of memory"):
        run_in_processes(children.fail, tmp_path, "killed", processes=2)
    assert not any(alive(int(file.read_text())) for file in tmp_path.iterdir())


def test_want_of_memory_of_a_process_comes_home(forked, tmp_path):
    with pytest.raises(UserError, match=r"out of memory: 3.73e\+05 GiB more .*; lower training.batch_size"):
        run_in_processes(children.fail, tmp_path, "memory", processes=2)


def test_a_bug_shows_its_traceback(forked, tmp_path):
    with pytest.raises(Exception, match="(?s)line .*RuntimeError: a bug"):
        run_in_processes(children.fail, tmp_path, "bug", processes=2)


def test_an_interruption_ends_all_processes(processes, tmp_path):
    process = processes.Process(target=children.fail_in_processes, args=(tmp_path, "never"))
    process.start()
    until(lambda: len(list(tmp_path.iterdir())) == 2)
    os.kill(process.pid, signal.SIGINT)
    process.join(300)
    assert process.exitcode
    assert not any(alive(int(file.read_text())) for file in tmp_path.iterdir())


@pytest.fixture
def job():
    class Sized(list):
        sizes = [(4, 4, 4)] * 7
        weights, together = None, 1

    class Settings:
        class training:
            batch_size, seed, workers = 2, 0, 0

    return NetworkTraining(
        Settings,
        Sized(),
        range(5),
        None,
        state=None,
        epoch=3,
        processes=2,
        accelerator="cpu",
        devices=2,
        threads=1,
        progress=False,
    )


def test_processes_share_out_the_validation_cases_evenly(job):
    assert [list(_validation_loader(job, rank).sampler) for rank in (0, 1)] == [[0, 2, 4], [1, 3, 0]]
    assert list(_validation_loader(replace(job, processes=1), 0).sampler) == [0, 1, 2, 3, 4]


def test_processes_share_out_the_batches_of_the_epoch_they_begin_with(job):
    batches = [list(_training_loader(job, rank).sampler) for rank in (0, 1)]
    assert len(batches[0]) == len(batches[1]) == 2
    items = [item for batch in batches[0] + batches[1] for item in batch]
    assert sorted(items) == [(3, index) for index in range(7)]


def test_the_loader_goes_by_what_the_samples_say(job):
    """Each of the last case's three slices stays with the others, and it comes more often than those of the others."""
    job.training.weights, job.training.together = [1.0] * 6 + [8.0], 3
    batches = [batch for rank in (0, 1) for batch in _training_loader(job, rank).sampler]
    indices = [index for batch in batches for _, index in batch]
    assert [index % 3 for index in indices] == [0, 1, 2] * 7 and len(set(indices)) == 21
    assert sum(index // 3 % 7 == 6 for index in indices) == 12


def test_processes_share_the_threads(train, monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(
        sys.modules["multifocal.training.fit"],
        "run_in_processes",
        lambda target, job, processes: given.append((job.threads, processes)),
    )
    torch.set_num_threads(8)
    for workers in (0, 1, 5):
        with pytest.raises(UserError, match="best.safetensors: no such file"):
            train(f"training.workers={workers}", processes=2, out=f"run{workers}")
    assert given == [(4, 2), (3, 2), (1, 2)]
