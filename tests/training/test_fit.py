"""What a training leaves behind, and that its settings do what they say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import multifocal
from multifocal import recipes
from multifocal.cohorts import Fold, fingerprint
from multifocal.errors import UserError
from multifocal.evaluation import summarize
from multifocal.metrics import evaluate_case
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.lesion_frequency import cell_shares
from multifocal.pipeline.prepare import prepare
from multifocal.systems import load_model
from multifocal.systems.network import NetworkSystem
from multifocal.training import fit
from multifocal.training.fit import _accelerator
from multifocal.training.module import SegmentationModule
from multifocal.weights import read_tree, read_weights, write_weights

LAST = ("training.monitor=null",)


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def weights(run):
    return read_weights(run / "weights.safetensors")


def last(run):
    """The network after the last epoch."""
    state = read_tree(run / "resume.safetensors")["state_dict"]
    return {key.removeprefix("network."): value for key, value in state.items()}


def initial(recipe):
    """The network as it is before the first step."""
    return SegmentationModule(recipe).network


@pytest.fixture
def steps(monkeypatch):
    """The norm of the gradient at each step of the optimizer, and the learning rate."""
    found = []
    step = torch.optim.AdamW.step

    def spy(self, closure=None):
        result = step(self, closure)
        squares = [p.grad.double().square().sum() for group in self.param_groups for p in group["params"]]
        found.append((float(torch.stack(squares).sum().sqrt()), self.param_groups[0]["lr"]))
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    return found


def test_a_run_folder_says_everything_needed_to_repeat_it(train, cohort, log):
    run = train("training.seed=3")
    kept = {path.name for path in run.iterdir()}
    assert kept == {
        "recipe.yaml", "run.json", "log.csv", "tensorboard", "best.safetensors", "resume.safetensors",
        "weights.safetensors", "ranges.json",
    }  # fmt: skip
    about = json.loads((run / "run.json").read_text())
    names = [case.name for case in cohort]
    assert about["parts"] == {"train": names[:4], "validation": names[4:], "test": []}
    assert about["cohort"] == {"name": "small", "layout": "bonbid-hie", "fingerprint": fingerprint(cohort)}
    assert about["seed"] == 3 and about["recipe"] == "small" and about["processes"] == 1 and about["threads"] == 1
    assert about["versions"]["torch"] == torch.__version__ and about["versions"]["multifocal"] == multifocal.__version__
    assert recipes.load(run / "recipe.yaml").training.seed == 3
    rows = log(run)
    assert list(rows[0]) == [
        "epoch", "lr", "seconds", "step_ms", "val/dice", "val/masd", "val/nsd",
        "train/dice", "train/focal", "train/loss",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert all(0 < float(row["seconds"]) < 60 for row in rows)
    assert (run / "tensorboard").is_dir()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(train, log):
    first, again, other = train(out="a"), train(out="b"), train("training.seed=1", out="c")
    assert same(weights(first), weights(again)) and not same(weights(first), weights(other))
    untimed = {"seconds": "", "step_ms": ""}
    assert [row | untimed for row in log(first)] == [row | untimed for row in log(again)]


@pytest.mark.parametrize(("monitor", "best_of"), [("dice", max), ("masd", min)])
def test_the_best_epoch_is_kept(train, log, monitor, best_of):
    for seed in range(10):  # the first whose best epoch is neither the first nor the last
        settings = (f"training.seed={seed}", f"training.monitor={monitor}")
        run = train(*settings, "training.epochs=6", out=f"run{seed}")
        scores = [float(row[f"val/{monitor}"]) for row in log(run)]
        best = scores.index(best_of(scores))
        if 0 < best < 5:
            break
    assert 0 < best < 5
    assert same(weights(run), weights(train(*settings, f"training.epochs={best + 1}", *LAST, out="shorter")))
    assert same(weights(train(*settings, "training.epochs=6", *LAST, out="last")), last(run))


def test_validation_scores_are_those_of_the_finished_model_in_native_space(train, cohort, log):
    run = train("training.epochs=4", "inference.threshold=0.4", "inference.flips=[0, 2]")
    model = load_model(run, device="cpu")
    rows = []
    for case in cohort.subset([case.name for case in cohort][4:]):
        label = case.label.read()
        scores = evaluate_case(model.predict(case).mask.array, label.array, spacing=label.geometry.spacing)
        diagonal = sum((n * s) ** 2 for n, s in zip(label.geometry.size, label.geometry.spacing, strict=True)) ** 0.5
        rows.append({"case": case.name, "stratum": "<1 %", "diagonal_mm": diagonal, **scores})
    expected = summarize(rows, undefined="diagonal")["overall"]["metrics"]
    best = max(log(run), key=lambda row: float(row["val/dice"]))
    for name in ("dice", "masd", "nsd"):
        assert float(best[f"val/{name}"]) == pytest.approx(expected[name]["mean"], rel=1e-6)


def test_validation_every_other_epoch_leaves_the_others_blank(train, log):
    run = train("training.epochs=5", "training.validate_every=2")
    blank = [row["val/dice"] == "" for row in log(run)]
    assert blank == [True, False, True, False, True]
    kept = max((row for row in log(run) if row["val/dice"]), key=lambda row: float(row["val/dice"]))
    shorter = train(f"training.epochs={int(kept['epoch']) + 1}", *LAST, out="shorter")
    assert same(weights(run), weights(shorter))


def test_a_monitored_run_is_validated_at_least_once(train, tmp_path):
    with pytest.raises(UserError, match="training: validate_every is longer than epochs"):
        train("training.epochs=3", "training.validate_every=4")


def test_without_validation_cases_the_last_epoch_is_kept(train, log):
    run = train(*LAST, validation=0)
    assert "val/dice" not in log(run)[0] and not (run / "best.safetensors").exists()
    assert same(weights(run), last(run))


def test_training_stops_after_patience(train, log):
    free = [float(row["val/dice"]) for row in log(train("training.epochs=12", out="free"))]
    best, expected = -1.0, None
    for epoch, value in enumerate(free):
        if value > best:
            best, found = value, epoch
        if epoch - found >= 2:
            expected = epoch + 1
            break
    assert expected is not None and expected < 12
    run = train("training.epochs=12", "training.patience=2")
    assert [float(row["val/dice"]) for row in log(run)] == free[:expected]


def test_the_plateau_schedule_goes_by_the_scores(train, log):
    rows = log(train("training.epochs=7", "schedule={name: plateau, factor: 0.5, patience: 0}"))
    rates, rate, best = [], 3e-2, -1.0
    for row in rows:
        rates.append(rate)
        rate = rate if float(row["val/dice"]) > best else rate / 2
        best = max(best, float(row["val/dice"]))
    assert [float(row["lr"]) for row in rows] == pytest.approx(rates)
    assert len(set(rates)) > 1


def test_the_learning_rate_of_an_epoch_is_the_one_its_steps_take(train, steps, log):
    run = train("schedule={name: exponential, gamma: 0.5}")
    assert [rate for _, rate in steps] == pytest.approx([3e-2] * 2 + [1.5e-2] * 2 + [0.75e-2] * 2)
    assert [float(row["lr"]) for row in log(run)] == pytest.approx([3e-2, 1.5e-2, 0.75e-2])


def test_accumulation_steps_less_often_and_once_at_the_end_of_an_epoch(train, steps):
    train("training.batch_size=1", "training.accumulate=3", "training.epochs=2", *LAST)
    assert len(steps) == 2 * 2  # four batches an epoch: one step after three, one after the fourth


def test_accumulated_batches_are_one_large_batch(train, steps):
    """Without batch statistics, dropout and augmentation, two batches of one are one of two."""
    plain = (
        "network.options={features: [2, 4], dropout: [0.0, 0.0], norm: instance}", "augmentation={}",
        "training.epochs=1", *LAST,
    )  # fmt: skip
    one = weights(train(*plain, "training.batch_size=2", out="one", cases=2, validation=0))
    two = weights(train(*plain, "training.batch_size=1", "training.accumulate=2", out="two", cases=2, validation=0))
    assert len(steps) == 2 and steps[0][0] == pytest.approx(steps[1][0], rel=1e-4)
    for name in one:  # within a thirtieth of the step that Adam takes
        torch.testing.assert_close(one[name], two[name], atol=1e-3, rtol=0)


def test_the_gradient_is_clipped(train, steps):
    train(*LAST, out="free")
    free = [norm for norm, _ in steps]
    limit = min(free) / 2
    steps.clear()
    train(*LAST, f"optimizer.clip={limit}")
    assert [norm for norm, _ in steps] == pytest.approx([limit] * len(free), rel=1e-4)


def test_each_value_of_the_gradient_is_clipped(train, monkeypatch):
    largest, norms = [], []

    def spy(self, closure=None):
        result = step(self, closure)
        values = torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]])
        largest.append(float(values.abs().max()))
        norms.append(float(values.norm()))
        return result

    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    train(*LAST, out="free")
    limit = min(largest) / 2
    largest.clear()
    train(*LAST, f"optimizer.clip={limit}", "optimizer.clip_by=value")
    assert largest == pytest.approx([limit] * len(largest), rel=1e-6) and max(norms[len(largest) :]) > limit


def test_a_clip_by_value_needs_the_value(small_recipe):
    with pytest.raises(UserError, match="optimizer: clip_by: value needs a clip, the largest value: set clip"):
        recipes.load(small_recipe, overrides=["optimizer.clip_by=value"])


def test_gradients_add_up_to_the_mean_or_to_the_sum(train, steps, log):
    """Four batches an epoch, three of them a step: the mean divides by three, in the last step, too."""
    options = ("training.batch_size=1", "training.accumulate=3", "training.epochs=1", "optimizer.lr=1e-9", *LAST)
    runs = [train(*options, f"training.accumulation={how}", out=how) for how in ("mean", "sum")]
    norms = [norm for norm, _ in steps]
    assert norms[2:] == pytest.approx([3 * norm for norm in norms[:2]], rel=1e-3)
    assert log(runs[0])[0]["train/loss"] == log(runs[1])[0]["train/loss"]
    steps.clear()
    train(*options[2:], "training.batch_size=1", "training.accumulate=1", out="single")
    single = steps[3][0]
    assert norms[1] == pytest.approx(single / 3, rel=1e-3) and norms[3] == pytest.approx(single, rel=1e-3)


def test_l1_enters_the_loss_and_its_gradient(train, log, small_recipe):
    still = ("optimizer.lr=1e-12", "training.epochs=1", *LAST)
    row = log(train(*still, "optimizer.l1=0.01", validation=0))[0]
    network = initial(recipes.load(small_recipe))
    penalty = 0.01 * sum(float(weight.detach().abs().sum()) for weight in network.parameters())
    terms = float(row["train/dice"]) + float(row["train/focal"])
    assert penalty > 0.1 and float(row["train/loss"]) == pytest.approx(terms + penalty, rel=1e-5)
    heavy = weights(train("optimizer.l1=10", "optimizer.lr=1e-2", *LAST, out="heavy"))
    light = weights(train("optimizer.lr=1e-2", *LAST, out="light"))
    key = next(name for name in heavy if name.endswith("0.0.weight"))
    assert heavy[key].abs().sum() < light[key].abs().sum()


def test_weighted_terms_add_up_to_the_loss_and_the_ramp_moves(train, log):
    """TLHF weighs its focal term by 2 in the first epoch and by 4 in the last."""
    rows = log(train("loss={name: tlhf}", "training.epochs=3", *LAST, validation=0))
    for row, focal in zip(rows, (2, 3, 4), strict=True):
        weights = {"train/tversky": 1.5, "train/log-hausdorff-dt": 2, "train/focal": focal}
        expected = sum(weight * float(row[name]) for name, weight in weights.items())
        assert float(row["train/loss"]) == pytest.approx(expected, rel=1e-5)


def test_a_run_on_crops_predicts_whole_cases_by_windows(train, cohort, log):
    said = "sampling={crop: [16, 16, 8], per_case: 3, centred: 0.5, by: lesion, empty: drop}"
    run = train(said, "inference.window=[16, 16, 8]", "training.epochs=2", out="crops")
    assert recipes.load(run / "recipe.yaml").sampling.crop == (16, 16, 8)
    assert [0 <= float(row["val/dice"]) <= 1 for row in log(run)] == [True, True]
    case = next(iter(cohort))
    assert load_model(run, device="cpu").predict(case).mask.array.shape == case.label.geometry().size


def test_xavier_initialisation(small_recipe):
    network = initial(recipes.load(small_recipe, overrides=["network.init=xavier"]))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    plain = [m for m in initial(recipes.load(small_recipe)).modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    assert layers
    for layer, other in zip(layers, plain, strict=True):
        window = layer.weight[0, 0].numel()
        bound = (6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * window)) ** 0.5
        largest = float(layer.weight.detach().abs().max())
        assert largest <= bound and (largest > 0.8 * bound or layer.weight.numel() < 30)
        assert layer.bias is None or torch.equal(layer.bias, other.bias)
        assert not torch.equal(layer.weight, other.weight)


def test_precisions(train):
    # Six small steps of Adam, which could part two trainings by 0.036: larger ones would part them by chance.
    options = ("optimizer.lr=0.003", *LAST)
    run = {kind: weights(train(f"training.precision={kind}", *options, out=kind)) for kind in ("32", "bf16")}
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in run["bf16"].values())
    key = next(name for name in run["32"] if name.endswith("0.0.weight"))
    assert not torch.equal(run["32"][key], run["bf16"][key])
    torch.testing.assert_close(run["32"][key], run["bf16"][key], atol=0.015, rtol=0)


def test_deterministic_mode_changes_nothing_on_the_cpu_nor_in_the_caller(train):
    run = train("training.deterministic=true", out="deterministic")
    assert same(weights(run), weights(train(out="free")))
    assert not torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1


def test_half_precision_needs_a_gpu(train, tmp_path):
    with pytest.raises(UserError, match="training.precision=16 trains on GPUs only; use bf16 or 32"):
        train("training.precision=16", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_progress_bar_changes_nothing(train, capsys):
    assert same(weights(train(out="bar", progress=True)), weights(train(out="none")))


def test_outside_a_terminal_an_epoch_is_a_plain_line(train, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    train("training.epochs=2", progress=True)
    out, err = capfd.readouterr()
    assert out == "" and "\x1b" not in err and "\r" not in err
    assert [line.split(":")[0] for line in err.splitlines()] == ["epoch 1 of 2", "epoch 2 of 2"]


def test_a_loss_that_is_not_finite_ends_the_run_with_the_cure(train, tmp_path):
    with pytest.raises(UserError, match=r"run: the loss of epoch \d is nan; .* lower optimizer.lr"):
        train("optimizer.lr=1e30")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_validation_that_is_not_finite_ends_the_run_with_the_epoch(train, tmp_path, monkeypatch, processes):
    """A loss is that of the weights before the step: the last step's are seen by the validation alone."""
    monkeypatch.setattr("multifocal.training.ddp.START", "fork")
    monkeypatch.setattr(SegmentationModule, "on_validation_epoch_start", break_weights_in_epoch_1)
    with pytest.raises(UserError, match=r"run: the network of epoch 1 answers validation case S_\d-VISIT_01 with NaN"):
        train(processes=processes, device="cpu")
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def break_weights_in_epoch_1(module):
    module._rows, module._model = [], NetworkSystem(module.recipe, module.network)
    if module.current_epoch == 1:
        module.network.network.head.bias.data.fill_(torch.nan)


def test_weights_that_are_nan_after_the_last_step_are_not_kept(train, tmp_path, monkeypatch):
    step = torch.optim.AdamW.step

    def broken(optimizer, *arguments, **options):
        found = step(optimizer, *arguments, **options)
        optimizer.param_groups[0]["params"][0].data.fill_(torch.nan)
        return found

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(UserError, match="run: the weights of epoch 0 hold NaN or infinity; train into another folder"):
        train("training.monitor=null", "training.epochs=1", "training.batch_size=9", cases=4, validation=0)
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_a_window_too_small_for_the_network_is_refused_before_the_run_begins(train, tmp_path):
    with pytest.raises(UserError, match=r"inference.window=\[1, 1, 1\] is too small for the network"):
        train("inference.window=[1, 1, 1]")
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize("device", ["tpu", "cuda:x"])
def test_an_unknown_device_is_refused_before_anything_is_written(train, tmp_path, device):
    with pytest.raises(UserError, match=f"device '{device}': choose from auto, cpu, cuda"):
        train(device=device)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("gpus", "device", "processes", "expected"),
    [
        (2, "cuda:1", 1, ("gpu", [1])),
        (2, "cuda", 2, ("gpu", 2)),
        (2, "auto", 1, ("gpu", 1)),
        (2, "cpu", 2, ("cpu", 2)),
        (0, "auto", 1, ("cpu", 1)),
    ],
)
def test_a_device_is_named_as_lightning_names_it(monkeypatch, small_recipe, gpus, device, processes, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert _accelerator(recipes.load(small_recipe), device, processes) == expected


@pytest.mark.parametrize(
    ("device", "processes", "message"),
    [("cuda:2", 1, "device cuda:2: there is no such GPU, found 2"), ("cuda:1", 2, "2 processes need as many GPUs")],
)
def test_a_device_that_cannot_be(monkeypatch, small_recipe, device, processes, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=message):
        _accelerator(recipes.load(small_recipe), device, processes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_refused_before_anything_is_written(train, tmp_path):
    with pytest.raises(UserError, match="device cuda: 1 processes need as many GPUs, found 0; use --device cpu"):
        train(device="cuda")
    assert not (tmp_path / "run").exists()


def test_cases_that_cannot_be_trained_on(cohort, small_recipe, tmp_path):
    recipe, names = recipes.load(small_recipe), tuple(case.name for case in cohort)
    options = {"out": tmp_path / "run", "progress": False}
    with pytest.raises(UserError, match="cohort small: no case to train on"):
        fit(recipe, cohort, split=Fold(train=(), validation=names, test=()), **options)
    with pytest.raises(UserError, match="needs validation cases: .*--set training.monitor=null"):
        fit(recipe, cohort, split=Fold(train=names, validation=(), test=()), **options)
    bare = replace(cohort, cases=tuple(replace(case, label=None) for case in cohort))
    with pytest.raises(UserError, match=f"case {names[0]}: has no label"):
        fit(recipe, bare, split=Fold(train=names[:4], validation=names[4:], test=()), **options)
    assert not (tmp_path / "run").exists()


def test_want_of_memory_is_one_line_for_callers_in_python_too(train, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: torch.zeros(10**14))
    with pytest.raises(UserError, match="out of memory: 3.73e.05 GiB more .*; lower training.batch_size, or predict"):
        train("training.epochs=1")


# Lesion frequency

WITH_FREQUENCY = (
    "preprocessing.channels=[{map: adc, zscore: brain}, {derive: {name: lesion-frequency, cells: 8}, range: [0, 0.1]}]",
    "training.epochs=1",
)


def test_the_lesion_frequency_of_the_training_cases_goes_with_the_run(train, cohort, shared_cache, tmp_path):
    run = train(*WITH_FREQUENCY)
    names = [case.name for case in cohort]
    recipe = recipes.load(run / "recipe.yaml")
    plain = Cache(shared_cache, recipe.preprocessing.without_lesion_frequency())
    shares = []
    for name in names[:4]:
        prepared = plain.get(cohort.case(name))
        shares.append(cell_shares(prepared.target > 0, prepared.inside, cells=8))
    stored = load_file(run / "lesion_frequency.safetensors")["frequency"].numpy()
    np.testing.assert_allclose(stored, np.mean(shares, axis=0), rtol=1e-5)
    # Prediction needs no other case, and sees what validation saw.
    alone = load_model(run, device="cpu")
    case = cohort.case(names[4])
    seen = prepare(case, recipe.preprocessing, frequency=stored).images[1]
    assert seen.any()
    cache = Cache.for_training(shared_cache, recipe.preprocessing, [cohort.case(name) for name in names[:4]])
    np.testing.assert_array_equal(cache.get(case).images[1], seen)
    one, other = alone.predict(case), alone.predict_prepared(cache.get(case))
    assert np.array_equal(one.probability.array, other.probability.array)


def test_a_training_case_does_not_see_its_own_lesions(cohort, shared_cache, small_recipe):
    recipe = recipes.load(small_recipe, overrides=WITH_FREQUENCY)
    cases = list(cohort)[:3]
    cache = Cache.for_training(shared_cache, recipe.preprocessing, cases)
    for case in cases:
        others = [other for other in cases if other is not case]
        shares = [cell_shares(p.target > 0, p.inside, cells=8) for p in map(cache.get, others)]
        expected = prepare(case, recipe.preprocessing, frequency=np.mean(shares, axis=0).astype(np.float32)).images[1]
        np.testing.assert_allclose(cache.get(case).images[1], expected, rtol=1e-5, atol=1e-7)


def test_a_run_that_has_lost_its_lesion_frequency(train, tmp_path):
    run = train(*WITH_FREQUENCY)
    (run / "lesion_frequency.safetensors").unlink()
    with pytest.raises(UserError, match="lesion_frequency.safetensors: no such file"):
        load_model(run, device="cpu")
    write_weights(run / "lesion_frequency.safetensors", {"frequency": torch.zeros(3, 3, 3)})
    with pytest.raises(UserError, match="does not fit the channel lesion-frequency of recipe.yaml; copy the run again"):
        load_model(run, device="cpu")


def test_a_recipe_with_lesion_frequency_resumes_and_starts_the_same(train):
    once, again = train(*WITH_FREQUENCY, out="once"), train(*WITH_FREQUENCY, out="again")
    assert (once / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()
    before = (once / "lesion_frequency.safetensors").read_bytes()
    train(*WITH_FREQUENCY, out="once", resume=True)
    assert (once / "lesion_frequency.safetensors").read_bytes() == before
